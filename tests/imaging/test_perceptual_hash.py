import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.imaging.perceptual_hash import HASH_BITS, NEAR_DUPLICATE_BITS, near_duplicates, perceptual_hash


def scene(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (240, 180), interpolation=cv2.INTER_CUBIC), np.uint8)


def distance(first: int, second: int) -> int:
    return (first ^ second).bit_count()


def recompressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_hashes_of_copies_are_near_and_of_other_scenes_far(seed: int) -> None:
    pixels = scene(seed)
    own = perceptual_hash(pixels)
    smaller = np.asarray(cv2.resize(pixels, (120, 90), interpolation=cv2.INTER_AREA), np.uint8)
    brighter = np.asarray(np.clip(pixels * 0.8 + 30, 0, 255), np.uint8)
    for copy in (recompressed(pixels, 40), smaller, brighter):
        assert distance(own, perceptual_hash(copy)) <= NEAR_DUPLICATE_BITS
    assert distance(own, perceptual_hash(scene(seed + 100))) > 2 * NEAR_DUPLICATE_BITS


def test_hash_of_a_plain_picture_fits_64_bits() -> None:
    assert 0 <= perceptual_hash(np.full((5, 7, 3), 9, np.uint8)) < 1 << HASH_BITS


def test_near_duplicates_are_grouped_by_single_linkage() -> None:
    hashes = [0b0, 0xFF << 56, 0b111, 0b111111, 0xFE << 56, 0xFFFF << 20]
    assert near_duplicates(hashes, max_bits=3) == [[0, 2, 3], [1, 4]]


def test_near_duplicates_are_found_across_blocks() -> None:
    rng = np.random.default_rng(0)
    hashes = [int(each) for each in rng.integers(0, 1 << 63, 3000)]
    assert near_duplicates([*hashes, hashes[5]]) == [[5, 3000]]


def test_no_hashes_have_no_groups() -> None:
    assert near_duplicates([]) == []


def test_many_equal_hashes_are_one_group() -> None:
    assert near_duplicates([7] * 20_000) == [list(range(20_000))]
