import numpy as np
import pytest

from sightline.imaging.colour_spaces.tone_mapping import REFERENCE_NITS, ToneCurve


@pytest.mark.parametrize("peak_nits", [100, 204, 1000, 10_000])
def test_invert_reverses_apply_up_to_the_peak(peak_nits: float) -> None:
    curve = ToneCurve.for_peak(peak_nits)
    light = np.linspace(0, curve.peak, 500)

    shown = curve.apply(light)

    assert np.all(np.diff(shown) > 0)
    assert shown[-1] == pytest.approx(1)
    np.testing.assert_allclose(curve.invert(shown), light, atol=1e-4)


def test_reference_white_of_a_bright_picture_is_half_of_the_display() -> None:
    assert ToneCurve.for_peak(1000).apply(np.array([1.0])) == pytest.approx(0.5)


def test_picture_without_highlights_is_not_compressed() -> None:
    curve = ToneCurve.for_peak(REFERENCE_NITS)

    assert not curve.compresses
    assert curve.apply(np.array([0.3, 2.0])).tolist() == [0.3, 1.0]
