"""Files with complete pixels are decoded whatever follows or separates them; files that miss pixels are refused."""

import io
import struct
import sys
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.colour_spaces import icc_profiles
from sightline.imaging.colour_spaces.icc_profiles import ColourSpace
from sightline.imaging.colour_spaces.tags import png_chunk
from sightline.imaging.containers import jpeg
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.header import require_header
from sightline.imaging.limits import PixelLimits

LIMITS = PixelLimits(max_bytes=1 << 22, max_pixels=1 << 20)
Pixels = NDArray[np.unsignedinteger]

MAKERS_TRAILER = b"\0\0\1\x0aImage_UTC_Data1234567890123" + bytes(range(256)) + b"SEFHk\0\0\0SEFT"


def _photo() -> NDArray[np.uint8]:
    steps = np.random.default_rng(0).integers(-9, 10, (40, 56, 3))
    return np.clip(np.cumsum(steps, axis=1) + 120, 0, 255).astype(np.uint8)


def _saved(format: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(_photo())
    (image.quantize(30) if mode == "P" else image.convert(mode)).save(file, format, **options)
    return file.getvalue()


JPEGS = {
    "baseline": _saved("JPEG"),
    "full chroma": _saved("JPEG", quality=95, subsampling=0),
    "progressive": _saved("JPEG", progressive=True),
    "grey": _saved("JPEG", "L"),
    "grey progressive": _saved("JPEG", "L", progressive=True),
    "restarts": _saved("JPEG", restart_marker_blocks=2),
    "inks": _saved("JPEG", "CMYK"),
    "inks progressive": _saved("JPEG", "CMYK", progressive=True),
}
JPEG_TAILS = {
    "nothing": b"",
    "maker": MAKERS_TRAILER,
    "another JPEG": _saved("JPEG", quality=20),
    "zeros": bytes(200),
    "fill bytes": b"\xff" * 50,
    "a late end marker": b"abc\xff\xd9def",
}
PNGS = {
    "colour": _saved("PNG"),
    "palette": _saved("PNG", "P"),
    "bilevel": _saved("PNG", "1"),
    "grey and alpha": _saved("PNG", "LA"),
    "16 bits": bytes(imagecodecs.png_encode(_photo().astype(np.uint16) * 250)),
}
PNG_TAILS = {
    "nothing": b"",
    "wrong checksum": png_chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "short chunk": png_chunk(b"tEXt", b"a\0b" * 50)[:40],
    "no chunk": b"\0\1\2 not a chunk at all",
    "endless chunk": b"\xff\xff\xff\xfftEXt",
    "unknown critical chunk": png_chunk(b"ABCD", b"?"),
    "broken end": b"\0\0\0\0IEND????",
    "end and trailer": png_chunk(b"IEND", b"") + MAKERS_TRAILER,
}


def _with_stray_bytes(data: bytes, stray: bytes) -> bytes:
    """Inserts stray bytes before every segment except for the first, which identifies a JPEG."""
    first, *others = segments = list(jpeg.segments(data))
    parts = [data[: first.start + first.size_bytes]]
    parts += [stray + data[each.start - 4 : each.start + each.size_bytes] for each in others]
    return b"".join([*parts, data[segments[-1].start + segments[-1].size_bytes :]])


def _pixels(data: bytes) -> Pixels:
    return decode(data, LIMITS).pixels


@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_without_an_end_marker_is_decoded(kind: str) -> None:
    whole = _pixels(JPEGS[kind])
    for tail in JPEG_TAILS.values():
        assert np.array_equal(_pixels(JPEGS[kind][:-2] + tail), whole), tail
        assert np.array_equal(_pixels(JPEGS[kind] + tail), whole), tail


@pytest.mark.parametrize("stray", [b"\0", b"\xff\xff\xff", b"stray", b"\xff\0stray", bytes(5000)], ids=repr)
@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_with_stray_bytes_between_segments_is_decoded(kind: str, stray: bytes) -> None:
    untidy = _with_stray_bytes(JPEGS[kind], stray)
    whole = _pixels(JPEGS[kind])
    assert require_header(untidy).pixels == 40 * 56
    assert np.array_equal(_pixels(untidy), whole)
    assert np.array_equal(_pixels(untidy[:-2] + MAKERS_TRAILER), whole)


@pytest.mark.parametrize("stray", [b"", b"\0stray"], ids=["tidy", "untidy"])
@pytest.mark.parametrize("kind", JPEGS)
def test_truncated_jpeg_is_complete_or_refused(kind: str, stray: bytes) -> None:
    data = _with_stray_bytes(JPEGS[kind], stray)
    _check_cuts(data, _pixels(data), may_miss=3)


@pytest.mark.parametrize("kind", ["baseline", "grey", "restarts", "inks"])
def test_truncated_jpeg_with_an_end_marker_is_complete_or_refused(kind: str) -> None:
    data = JPEGS[kind]
    whole = _pixels(data)
    for size_bytes in range(len(data) // 2, len(data) - 2, 5):
        read = _read(data[:size_bytes] + b"\xff\xd9")
        assert read is None or np.array_equal(read, whole), size_bytes


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["no end", "end"])
@pytest.mark.parametrize("kind", JPEGS)
def test_half_a_jpeg_padded_with_zeros_is_refused(kind: str, end: bytes) -> None:
    """As disks and downloads leave it; zeros decode like a picture."""
    data = JPEGS[kind]
    half = len(data) - 600
    for size_bytes in (len(data) - half, 5000):
        assert _read(data[:half] + bytes(size_bytes) + end) is None


@pytest.mark.parametrize("foreign", [b"hello " * 100, bytes(600), b""], ids=["text", "zeros", "cut"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 98}], ids=str)
def test_jpeg_without_some_restart_markers_is_refused(options: dict[str, Any], foreign: bytes) -> None:
    data = _saved("JPEG", restart_marker_blocks=2, **options)
    assert np.array_equal(_pixels(data[:-2] + MAKERS_TRAILER), _pixels(data))
    half = len(data) - 700
    for rest in (b"", data[half + 600 :]):
        assert _read(data[:half] + foreign + rest) is None


@pytest.mark.parametrize("kind", PNGS)
def test_png_without_a_valid_end_is_decoded(kind: str) -> None:
    whole = _pixels(PNGS[kind])
    for name, tail in PNG_TAILS.items():
        assert np.array_equal(_pixels(PNGS[kind][:-12] + tail), whole), name


@pytest.mark.parametrize("kind", PNGS)
def test_truncated_png_is_complete_or_refused(kind: str) -> None:
    """The checksums of the last chunk and of the compressed data may be missing."""
    _check_cuts(PNGS[kind], _pixels(PNGS[kind]), may_miss=12 + 4 + 4)


def test_png_transparency_of_the_wrong_length_is_ignored() -> None:
    plain = PNGS["colour"]
    for payload, alpha in ((bytes(6), True), (bytes(5), False)):
        data = plain[:33] + png_chunk(b"tRNS", payload) + plain[33:]
        assert (decode(data, LIMITS).alpha is not None) == alpha


@pytest.mark.parametrize("broken", ["png", "profile"])
def test_damaged_files_keep_reference_counts(broken: str) -> None:
    """A decoder that releases None with each damaged file would abort Python after some thousand."""
    image = PNGS["colour"][:-600] + PNGS["colour"][-12:]
    before = sys.getrefcount(None)
    for number in range(200):
        if broken == "png":
            assert _read(image) is None
        else:
            assert not icc_profiles.is_usable(struct.pack(">I", number) * 50, ColourSpace.RGB)
    assert sys.getrefcount(None) > before - 100


def _read(data: bytes) -> Pixels | None:
    try:
        return _pixels(data)
    except Problem as problem:
        if problem.code is Code.UNREADABLE_IMAGE:
            return None
        raise


def _check_cuts(data: bytes, whole: Pixels, *, may_miss: int) -> None:
    for size_bytes in range(len(data)):
        read = _read(data[:size_bytes])
        assert read is None or (np.array_equal(read, whole) and size_bytes >= len(data) - may_miss), size_bytes
