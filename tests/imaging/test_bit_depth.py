import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.imaging.bit_depth import quantize, to_8_bit
from sightline.imaging.picture import Samples
from tests.extreme_pictures import extreme_pixels

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)


def test_to_8_bit_rounds_to_the_nearest_value() -> None:
    values = np.arange(65_536, dtype=np.uint16)
    assert np.array_equal(to_8_bit(values), np.rint(values / 257).astype(np.uint8))


def test_expand_to_16_bit_inverts_narrowing() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantize(quantize(values, U16), U8), values)


@pytest.mark.parametrize("dtype", [U8, U16])
def test_quantize_clips_and_rounds_floating_point(dtype: "np.dtype[np.unsignedinteger]") -> None:
    top = np.iinfo(dtype).max
    assert quantize(np.array([-0.5, 0, 0.5, 1, 2.5]), dtype).tolist() == [0, 0, round(top / 2), top, top]


@given(extreme_pixels(), st.sampled_from([U8, U16]), st.floats(-0.1, 0.1))
def test_conversion_at_black_and_white_equals_floating_point(
    pixels: Samples, dtype: "np.dtype[np.unsignedinteger]", more: float
) -> None:
    unit, top = pixels / np.iinfo(pixels.dtype).max, np.iinfo(dtype).max
    assert np.abs(quantize(pixels, dtype) - unit * top).max() <= 0.51
    assert np.abs(quantize(unit + more, dtype) - np.clip(unit + more, 0, 1) * top).max() <= 0.51
