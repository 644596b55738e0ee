from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inpaint.patch_completion.em import Completion
from services.inpaint.patch_completion.shift_map import LowResolutionCompletion, copy_by_shift_map
from services.inpaint.patch_completion.texture_features import extract_features
from services.inpaint.pyramid import Fill, Pixels, PyramidLevel, halve, halve_hole
from tests.extreme_pictures import random_extremes

TONE = 105

ResultT = TypeVar("ResultT")


def finish(work: Generator[float, None, ResultT]) -> ResultT:
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result


def shrunk(photo: PyramidLevel, halvings: int) -> tuple[Pixels, Pixels]:
    """Returns pixels and hole of the shrunk photo."""
    small = photo
    for _ in range(halvings):
        small = halve(small)
    return small.pixels, halve_hole(photo.hole, halvings)


def copied(photo: PyramidLevel, halvings: int, *, seed: int = 0, shift: tuple[int, int] | None = None) -> Fill:
    """Copies by one shift, or each low-resolution pixel from a random source patch, in tone with the hole."""
    low = low_resolution(photo, halvings, np.random.default_rng(seed), tone=TONE)
    if shift is not None:
        low.completion.shifts[extract_features(low.pixels, low.completion.hole).target_mask()] = shift
    return finish(copy_by_shift_map(photo, low, photo.hole.astype(np.float32)))


def noisy(height: int, width: int, *, low: int = 0, high: int = 256) -> PyramidLevel:
    pixels = np.random.default_rng(0).integers(low, high, (height, width, 3), np.uint8)
    return PyramidLevel(pixels, np.zeros((height, width), np.uint8))


@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_uniform_shift_map_copies_pixel_by_pixel(halvings: int) -> None:
    scale, photo = 2**halvings, noisy(320, 400, low=95, high=116)
    photo.pixels[:, 200:] = photo.pixels[:, :200]
    photo.hole[10 * scale : 20 * scale, 200 + 8 * scale : 200 + 15 * scale] = 1
    inside = photo.hole == 1
    fill = copied(photo, halvings, shift=(0, -200 // scale))[inside].astype(float)
    assert np.corrcoef(fill.ravel(), photo.pixels[inside].ravel())[0, 1] > 0.9


@settings(max_examples=30, deadline=None)
@given(st.integers(60, 300), st.integers(60, 300), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_copies_fill_holes_only(height: int, width: int, halvings: int, seed: int) -> None:
    rng, photo = np.random.default_rng(seed), noisy(height, width, low=100, high=110)
    photo.hole[:] = np.kron(rng.random((-(-height // 30), -(-width // 30))) < 0.4, np.ones((30, 30)))[:height, :width]
    photo.hole[:60, :60] = 0
    photo.pixels[photo.hole == 1] = 255
    small, hole = shrunk(photo, halvings)
    if extract_features(small, hole == 1).source_mask().any():
        fill = copied(photo, halvings, seed=seed)
        assert not fill[photo.hole == 0].any()
        assert np.abs(fill[photo.hole == 1] / 257 - TONE).max(initial=0) < 12


def test_copies_take_the_tone_of_the_completion() -> None:
    photo = noisy(320, 320, low=90, high=100)
    photo.hole[80:240, 80:240] = 1
    inside = copied(photo, 2)[100:220, 100:220] / 257
    assert np.abs(inside - TONE).max() < 12
    assert inside.mean() == pytest.approx(TONE, abs=1)


def test_copies_match_the_tone_around_the_hole() -> None:
    photo = noisy(320, 400, low=60, high=70)
    photo.pixels[:, 200:] += 20
    photo.hole[60:260, 240:360] = 1
    small, hole = shrunk(photo, 2)
    shifts = np.zeros((*hole.shape, 2), np.int32)
    shifts[extract_features(small, hole == 1).target_mask()] = (0, -50)
    values = small - np.float32(20) * hole[..., None]
    low = LowResolutionCompletion(Completion(values, hole == 1, shifts), small, 4)
    fill = finish(copy_by_shift_map(photo, low, photo.hole.astype(np.float32)))[60:260, 240:360] / 257
    assert fill[:4].mean() == pytest.approx(84.5, abs=5)
    assert fill[90:110, 50:70].mean() < 75


def test_copies_keep_their_colour_beside_other_things() -> None:
    photo = noisy(320, 400, low=60, high=70)
    photo.pixels[:, 200:] = (200, 40, 40)
    photo.hole[60:260, 202:360] = 1
    small, hole = shrunk(photo, 2)
    shifts = np.zeros((*hole.shape, 2), np.int32)
    shifts[extract_features(small, hole == 1).target_mask()] = (0, -50)
    values = np.where(hole[..., None] == 1, np.float32(65), small)
    low = LowResolutionCompletion(Completion(values, hole == 1, shifts), small, 4)
    fill = finish(copy_by_shift_map(photo, low, photo.hole.astype(np.float32)))[80:240, 220:340] / 257
    assert np.abs(fill - 65).max() < 25


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_copies_keep_to_their_share_at_black_and_white(white_share: float, halvings: int, seed: int) -> None:
    """The network fills the rest of each pixel."""
    rng = np.random.default_rng(seed)
    pixels = random_extremes(rng, (150, 180), np.uint8, white_share=white_share, block_px=30, grey=False)
    photo = PyramidLevel(pixels, np.zeros(pixels.shape[:2], np.uint8))
    photo.hole[40:90, 50:110] = 1
    share = np.asarray(photo.hole * rng.random(photo.size), np.float32)
    low = low_resolution(photo, halvings, rng, tone=white_share * 255)
    fill = finish(copy_by_shift_map(photo, low, share))
    assert (fill <= np.rint(share * np.float32(65535))[..., None]).all()
    black_and_white = rng.integers(0, 2, (*photo.size, 3)) * 65535
    whole = fill + np.rint(black_and_white * (1 - share[..., None].astype(float)))
    assert whole[photo.hole == 1].max() <= 65536


def low_resolution(
    photo: PyramidLevel, halvings: int, rng: np.random.Generator, *, tone: float
) -> LowResolutionCompletion:
    """Returns random shifts to source patches, and completed pixels of this tone."""
    small, hole = shrunk(photo, halvings)
    scene = extract_features(small, hole == 1)
    sources, near = np.argwhere(scene.source_mask()), scene.target_mask()
    shifts = np.zeros((*hole.shape, 2), np.int32)
    shifts[near] = sources[rng.integers(len(sources), size=np.count_nonzero(near))] - np.argwhere(near)
    return LowResolutionCompletion(
        Completion(np.where(hole[..., None] == 1, np.float32(tone), small), hole == 1, shifts), small, 2**halvings
    )
