import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inpaint.levels import Fill, Level, distance_px, enlarge, halve, new_fill
from services.inpaint.texture import RISE_PX, Block, add_texture


def striped(height: int, width: int) -> Level:
    """Stripes too fine for the half-sized picture, which is even."""
    pixels = np.full((height, width, 3), 115, np.uint8)
    pixels[::2] = 125
    return Level(pixels, np.zeros((height, width), np.uint8))


def textured(level: Level) -> Fill:
    """An even fill with texture added to it."""
    coarse = Level(halve(level).pixels, np.zeros(halve(level).size, np.uint8))
    coarse.pixels[:] = 120
    share = level.hole.astype(np.float32)
    fill = enlarge(coarse, new_fill(coarse.size), share)
    add_texture(level, coarse.pixels, fill, distance_px(level))
    return fill


@pytest.mark.parametrize("size", [(200, 260), (160, 1600)])
def test_detail_of_the_known_comes_into_the_hole(size: tuple[int, int]) -> None:
    level = striped(*size)
    level.hole[40:120, 50:130] = 1
    deep = textured(level)[40 + RISE_PX : 120 - RISE_PX, 50 + RISE_PX : 130 - RISE_PX] / 257
    assert np.abs(deep - level.pixels[40 + RISE_PX : 120 - RISE_PX, 50 + RISE_PX : 130 - RISE_PX]).max() < 4


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_known_pixels_get_nothing(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = Level(rng.integers(0, 256, (height, width, 3), np.uint8), np.zeros((height, width), np.uint8))
    level.hole[:] = np.kron(rng.random((-(-height // 40), -(-width // 40))) < 0.4, np.ones((40, 40)))[:height, :width]
    level.hole[0, 0] = 0
    assert not textured(level)[level.hole == 0].any()


def test_nothing_is_added_where_there_is_no_whole_patch_to_copy() -> None:
    level = striped(40, 40)
    level.hole[5:35, 5:35] = 1
    assert set(np.unique(textured(level))) == {0, 120 * 257}


def test_a_picture_without_holes_stays_as_it_is() -> None:
    assert not textured(striped(200, 260)).any()


def test_tapers_of_blocks_side_by_side_add_up_to_one() -> None:
    block = Block(16)
    line = block.taper()[block.patch_px // 2, :, 0]
    assert np.allclose(line[: 2 * block.ring_px] + line[-2 * block.ring_px :], 1)
    assert (block.taper()[block.ring_px * 2 : -block.ring_px * 2, block.ring_px * 2 : -block.ring_px * 2] == 1).all()
