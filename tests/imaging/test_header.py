import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.formats import ImageFormat
from sightline.imaging.header import MAX_HEADER_BYTES, HeaderSniffer, ImageHeader, read_header, require_header

Save = Callable[..., bytes]

SIGNATURES = [
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"RIFF\0\0\0\0WEBPVP8L",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    b"\0\0\0\x18ftypavif\0\0\0\0mif1avif\0\0\1\0meta\0\0\0\0",
]


def _size_by_decoder(name: str, data: bytes) -> tuple[int, int]:
    if name == "heic":
        size: tuple[int, int] = pillow_heif.open_heif(data).size
        return size
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def test_header_equals_the_decoders_size(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if name == "tiff-bigtiff":  # 16-bit RGB is beyond Pillow
            continue
        header = require_header(data)
        assert (header.width, header.height) == _size_by_decoder(name, data), name
        assert header.format == name.partition("-")[0]


def test_every_prefix_gives_none_or_the_final_header(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        final, answered = require_header(data), False
        for size_bytes in [*range(min(len(data), 700)), *range(700, len(data), 5)]:
            header = read_header(data[:size_bytes])
            assert header == final if answered else header in (None, final), name
            answered = header is not None


def test_sniffer_finds_the_header_as_early_as_read_header(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        sniffer = HeaderSniffer()
        fed_bytes = 0
        while sniffer.feed(data[fed_bytes : fed_bytes + 1]) is None:
            fed_bytes += 1
        assert sniffer.header == require_header(data)
        assert read_header(data[:fed_bytes]) is None, name


@pytest.mark.parametrize(
    ("name", "frames"),
    [("png", 1), ("png-animated", 2), ("webp", 1), ("webp-animated", None), ("gif", None), ("tiff", 1), ("heic", 1)],
)
def test_header_counts_frames(files: dict[str, bytes], name: str, frames: int | None) -> None:
    assert require_header(files[name]).frames == frames


def test_header_has_the_bit_depth(files: dict[str, bytes]) -> None:
    assert require_header(files["png-16"]).bit_depth == 16
    assert require_header(files["tiff-bigtiff"]).bit_depth == 16
    assert require_header(files["png-bilevel"]).bit_depth == 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_header_has_the_stored_size(photo: NDArray[np.uint8], save: Save, orientation: int) -> None:
    header = require_header(save(photo, "JPEG", orientation=orientation))
    assert (header.width, header.height) == (128, 64)


def test_png_header_allows_any_size() -> None:
    assert require_header(png_header(100_000, 100_000) + b"\0\0\0\0IDAT").pixels == 10**10


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (1 << 31, 5)])
def test_impossible_sizes_are_refused(width: int, height: int) -> None:
    with pytest.raises(Problem) as caught:
        read_header(png_header(width, height))
    assert caught.value.code is Code.UNREADABLE_IMAGE


def test_jpeg_header_behind_fill_bytes_and_large_segments() -> None:
    frame = struct.pack(">BBHBHHB9x", 0xFF, 0xC0, 17, 8, 300, 400, 3)
    filler = b"\xff\xe1\xff\xff" + bytes(65533)
    data = b"\xff\xd8" + filler * 20 + b"\xff\xff\xff" + frame[1:]
    assert len(data) > MAX_HEADER_BYTES
    assert require_header(data) == ImageHeader(ImageFormat.JPEG, 400, 300, 1, 8)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\2" * 100_000,
        b"\xff\xd8" + b"\xff" * 100_000,
        b"\xff\xd8\xff\xd9" + bytes(100),
        b"\xff\xd8\xff\xe1\0\0" + bytes(100),
        b"RIFF\0\0\0\0WEBPJUNK" + bytes(100),
        b"II*\0\x08\0\0\0\0\0" + bytes(100),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08free" * 100,
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\x7f\0\0\0meta",
        b"GIF89a\0\0\0\0" + bytes(20),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_invalid_headers_are_refused(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_header(data)
    assert caught.value.code is Code.UNREADABLE_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"BM" + bytes(60),
        b"%PDF-1.7 and more",
        b'{"json": "document"}',
        b"RIFF\0\0\0\0WAVEfmt ",
        struct.pack("<4sIHHHIIHHIII", b"II*\0", 8, 2, 256, 4, 1, 10, 50706, 1, 4, 1, 0),
    ],
    ids=["bmp", "pdf", "json", "wave", "dng"],
)
def test_unsupported_files_list_supported_formats(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_header(data)
    assert caught.value.code is Code.UNSUPPORTED_FORMAT
    assert "image/jpeg" in caught.value.facts["supported"]


def test_tiff_directory_at_the_end_needs_the_whole_file(photo: NDArray[np.uint8], save_tiff: Save) -> None:
    directory_last = b"II*\0" + struct.pack("<I", 2 * MAX_HEADER_BYTES)
    sniffer = HeaderSniffer()
    sniffer.feed(directory_last + bytes(100))
    assert sniffer.exhausted
    assert sniffer.feed(bytes(100)) is None


def test_truncated_header_is_unreadable(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        with pytest.raises(Problem) as caught:
            require_header(data[:11])
        assert caught.value.code is Code.UNREADABLE_IMAGE, name


@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_random_bytes_give_a_header_or_a_problem(signature: bytes, rest: bytes) -> None:
    with contextlib.suppress(Problem):
        header = read_header(signature + rest)
        assert header is None or header.pixels > 0


def test_flipped_bytes_give_a_header_or_a_problem(files: dict[str, bytes]) -> None:
    generator = np.random.default_rng(3)
    for data in files.values():
        for _ in range(200):
            damaged = bytearray(data)
            damaged[generator.integers(min(len(data), 600))] = generator.integers(256)
            with contextlib.suppress(Problem):
                header = read_header(bytes(damaged))
                assert header is None or header.pixels > 0


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
