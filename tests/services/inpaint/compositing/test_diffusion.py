import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic

from services.inpaint.compositing.diffusion import RIM_SHARE, biharmonic_fill, blend_rim, interpolate

Floats = NDArray[np.float32]


def waves(side_px: int = 64) -> Floats:
    """Returns a picture that is smooth in every direction and linear in none."""
    y, x = np.mgrid[:side_px, :side_px] / side_px
    tones = [0.5 + 0.3 * np.sin(2 * np.pi * (x + shift)) * np.cos(2 * np.pi * y) for shift in (0, 0.2, 0.5)]
    return np.stack(tones, axis=2).astype(np.float32)


def scratch(side_px: int = 64) -> Floats:
    hole = np.zeros((side_px, side_px), np.float32)
    hole[30:35, 10:50] = 1
    return hole


def holed(pixels: Floats, hole: Floats) -> Floats:
    return pixels * (1 - hole)[..., None]


def error(filled: Floats, hole: Floats) -> float:
    return float(np.abs(filled - waves())[hole == 1].max())


def test_biharmonic_fill_continues_slopes_through_a_scratch() -> None:
    hole = scratch()

    diffused = biharmonic_fill(holed(waves(), hole), hole)

    assert error(diffused, hole) < 0.02
    assert error(diffused, hole) < error(interpolate(holed(waves(), hole), hole), hole) / 3
    assert np.array_equal(diffused[hole == 0], waves()[hole == 0])


def test_biharmonic_fill_is_close_to_the_exact_solution_at_the_rim() -> None:
    rng = np.random.default_rng(0)
    pixels = (waves() + rng.normal(0, 0.02, waves().shape)).astype(np.float32)
    hole = np.zeros((64, 64), np.float32)
    hole[16:48, 16:48] = 1

    exact = inpaint_biharmonic(holed(pixels, hole), hole.astype(bool), channel_axis=2)

    rim = np.zeros((64, 64), bool)
    rim[16:18, 18:46] = True
    assert np.abs(biharmonic_fill(holed(pixels, hole), hole) - exact)[rim].mean() < 0.03


def test_biharmonic_fill_reaches_the_middle_of_deep_holes() -> None:
    hole = np.zeros((192, 192), np.float32)
    hole[40:152, 40:152] = 1

    filled = biharmonic_fill(holed(waves(192), hole), hole)

    exact = inpaint_biharmonic(holed(waves(192)[::3, ::3], hole[::3, ::3]), hole[::3, ::3] == 1, channel_axis=2)
    assert np.abs(filled[::3, ::3] - exact)[28:36, 28:36].mean() < 0.06


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 64)])
def test_biharmonic_fill_takes_any_size_and_no_known_pixel(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 0.5, np.float32)

    assert np.isfinite(biharmonic_fill(pixels, np.ones(size, np.float32))).all()
    assert np.allclose(biharmonic_fill(pixels, np.zeros(size, np.float32)), pixels)


def test_blend_rim_fades_from_diffusion_to_the_prediction() -> None:
    hole = np.zeros((96, 96), np.float32)
    hole[8:88, 8:88] = 1
    predicted, diffused = np.zeros((96, 96, 3), np.float32), np.ones((96, 96, 3), np.float32)

    joined = blend_rim(predicted, diffused, hole)[..., 0]

    assert joined[8, 48] == pytest.approx(RIM_SHARE, abs=0.05)
    assert np.all(np.diff(joined[8:48, 48]) < 0)
    assert joined[48, 48] < 1e-3
