"""Pictures near black and near white, where sums of pixels overflow first."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

MARGIN = 0.03  # of the range: how far the samples lie from black or white


@st.composite
def extreme_pixels(
    draw: st.DrawFn, *, min_px: int = 1, max_px: int = 80, dtypes: tuple[type, ...] = (np.uint8, np.uint16)
) -> NDArray[Any]:
    """(h, w, 3): blocks of black, white, or both side by side, with some noise; at 8 or 16 bits."""
    height, width = draw(st.integers(min_px, max_px)), draw(st.integers(min_px, max_px))
    dtype, white_share = draw(st.sampled_from(dtypes)), draw(st.sampled_from([0.0, 0.5, 1.0]))
    per_channel, block_px = draw(st.booleans()), draw(st.sampled_from([1, 7, 40]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random_extremes(
        rng, (height, width), dtype, white_share=white_share, block_px=block_px, grey=not per_channel
    )


def random_extremes(
    rng: np.random.Generator, size: tuple[int, int], dtype: type, *, white_share: float, block_px: int, grey: bool
) -> NDArray[Any]:
    """(h, w, 3) of that type: each block of pixels is near white with that probability, else near black."""
    blocks = (-(-size[0] // block_px), -(-size[1] // block_px), 1 if grey else 3)
    white = np.kron(rng.random(blocks) < white_share, np.ones((block_px, block_px, 1), bool))[: size[0], : size[1]]
    noise = rng.uniform(0, MARGIN, (*size, 3)) * rng.integers(0, 2, (*size, 1))
    return np.asarray(np.rint(np.where(white, 1 - noise, noise) * np.iinfo(dtype).max), dtype)
