import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sightline.api.problems import Problem
from sightline.imaging.containers.av1 import frame_sizes
from sightline.imaging.containers.heif_items import coded_items


def _avif(width: int, height: int, **options: Any) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 4)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "AVIF", speed=10, **options)
    return file.getvalue()


@pytest.mark.parametrize("size_px", [(1, 1), (53, 37), (640, 100), (100, 2000)])
@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}], ids=str)
def test_frame_sizes_of_colour_and_alpha(size_px: tuple[int, int], options: dict[str, Any]) -> None:
    items = coded_items(_avif(*size_px, **options), b"av01")
    assert [frame_sizes(item) for item in items] == [[size_px], [size_px]]


def test_frame_sizes_behind_timing_information(files: dict[str, bytes]) -> None:
    frame, file = Image.new("RGB", (64, 48)), io.BytesIO()
    frame.save(file, "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")])
    assert [frame_sizes(item) for item in coded_items(file.getvalue(), b"av01")] == [[(64, 48)]]
    assert coded_items(files["heic"], b"av01") == []


def test_frame_size_in_a_full_sequence_header() -> None:
    """Timing, decoder model and display delays, before 4 bits each of width 12 and height 10."""
    fields = [
        (0, 5),  # profile, still picture, reduced header
        (1, 1),  # timing
        (0, 64),
        (1, 1),  # equal intervals, of
        (0b00101, 5),  # a variable-length number
        (1, 1),  # decoder model
        (9, 5),  # delays of 10 bits
        (0, 42),
        (1, 1),  # display delays
        (0, 5),  # one operating point
        (0, 12),
        (8, 5),  # level with a tier
        (1, 1),
        (1, 1),  # its decoder model
        (0, 21),
        (1, 1),
        (3, 4),
        (3, 4),
        (3, 4),
        (11, 4),
        (9, 4),
    ]
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    payload = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    assert frame_sizes(bytes([1 << 3 | 2, len(payload)]) + payload) == [(12, 10)]


@given(st.binary(max_size=200))
def test_random_bytes_give_sizes_or_a_problem(stream: bytes) -> None:
    try:
        sizes = frame_sizes(stream)
    except Problem:
        return
    assert all(width > 0 and height > 0 for width, height in sizes)
