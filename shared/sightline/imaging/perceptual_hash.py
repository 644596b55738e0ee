"""Perceptual hash, robust to scaling, recompression and small changes of tone, and groups of near-duplicates."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
NEAR_DUPLICATE_BITS = 6
"""Maximum Hamming distance between copies of one picture; unrelated pictures differ in about half of the bits."""

_SIDE_PX, _LOW_FREQUENCIES = 32, 8
_CHUNK = 1024


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """Returns the 64-bit pHash of (h, w, 3) sRGB (Zauner 2010).

    The bits compare the 8x8 lowest frequencies of the grey picture's cosine transform (32x32) with their median, from
    which the constant term is left out.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW_FREQUENCIES, :_LOW_FREQUENCIES].ravel()
    return int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), "big")


def near_duplicates(hashes: Sequence[int], *, max_bits: int = NEAR_DUPLICATE_BITS) -> list[list[int]]:
    """Groups indices of near-duplicate hashes by single linkage; groups have two or more, in order of first index."""
    # Equal hashes count once: a folder of plain pictures would have a quadratic number of pairs.
    distinct = list(dict.fromkeys(hashes))
    parents = list(range(len(distinct)))
    for first, second in _near_pairs(np.array(distinct, np.uint64), max_bits):
        roots = _root(parents, first), _root(parents, second)
        parents[max(roots)] = min(roots)
    group_of = {value: _root(parents, at) for at, value in enumerate(distinct)}
    groups: dict[int, list[int]] = {}
    for at, value in enumerate(hashes):
        groups.setdefault(group_of[value], []).append(at)
    return [group for group in groups.values() if len(group) > 1]


def _near_pairs(hashes: NDArray[np.uint64], max_bits: int) -> list[tuple[int, int]]:
    """Compares hashes in blocks, as all differences of 10,000 hashes at once would take gigabytes."""
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), _CHUNK):
        block = hashes[start : start + _CHUNK]
        differing = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        rows, columns = np.nonzero(differing <= max_bits)
        kept = rows < columns
        pairs += zip((rows[kept] + start).tolist(), (columns[kept] + start).tolist(), strict=True)
    return pairs


def _root(parents: list[int], at: int) -> int:
    while parents[at] != at:
        parents[at] = parents[parents[at]]
        at = parents[at]
    return at
