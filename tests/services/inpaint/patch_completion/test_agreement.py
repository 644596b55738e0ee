import numpy as np

from services.inpaint.patch_completion.agreement import agreement
from services.inpaint.patch_completion.onion_peel import ShiftMap
from services.inpaint.pyramid import PyramidLevel

PERIOD_PX = 12


def stripes(*, noise: float = 0) -> PyramidLevel:
    tones = 48 + 160 * (np.arange(200) // (PERIOD_PX // 2) % 2)
    pixels = np.broadcast_to(tones[None, :, None], (150, 200, 3)) + noise * np.random.default_rng(0).standard_normal(
        (150, 200, 1)
    )
    hole = np.zeros((150, 200), np.uint8)
    hole[50:90, 60:100] = 1
    return PyramidLevel(np.clip(pixels, 0, 255).astype(np.uint8), hole)


def shifted(columns: int) -> ShiftMap:
    shifts = np.zeros((150, 200, 2), np.int32)
    shifts[..., 1] = columns
    return shifts


def test_copies_that_continue_a_pattern_agree() -> None:
    photo = stripes(noise=4)
    found = agreement(photo, shifted(5 * PERIOD_PX))
    assert found[photo.hole == 1].min() > 0.95
    assert not found[photo.hole == 0].any()


def test_copies_that_are_out_of_step_with_a_pattern_disagree() -> None:
    photo = stripes()
    assert agreement(photo, shifted(5 * PERIOD_PX + PERIOD_PX // 2)).max() < 0.05


def test_copies_of_a_similar_texture_disagree() -> None:
    photo = stripes()
    photo.pixels[:] = np.random.default_rng(1).integers(0, 256, (150, 200, 1), np.uint8)
    assert agreement(photo, shifted(60)).max() < 0.05


def test_agreement_differs_from_side_to_side() -> None:
    photo, shifts = stripes(), shifted(5 * PERIOD_PX)
    shifts[:, 80:, 1] += PERIOD_PX // 2
    found = agreement(photo, shifts)
    assert found[70, 62] > 0.9
    assert found[70, 97] < 0.1
