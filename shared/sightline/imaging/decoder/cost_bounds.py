"""Cheap checks, without a decoder, that a file's header bounds the cost of decoding it."""

from collections.abc import Callable, Mapping

import imagecodecs

from sightline.api.problems import Problem
from sightline.imaging.codecs.jpeg import count_scans
from sightline.imaging.containers import jpeg, png
from sightline.imaging.formats import ImageFormat, ImageHeader, IncompleteError, read_exactly

_MAX_SEQUENTIAL_SCANS = 4  # one for each component
# About 0.3 s of a core at 1 to 2 ns per pixel and scan; 12 megapixels in ten scans are 120 million.
_MAX_SCANNED_PX = 250_000_000
_ARITHMETIC_FRAMES = frozenset(range(0xC9, 0xD0))
_MAX_COMPONENTS = 3

_MAX_CHUNKS = 8192
_MAX_RAW_PNG_BYTES = 16 << 20  # the check of larger ones takes longer than starting a process
# Deflate compresses up to 1000:1, and libpng inflates every text chunk.
_MAX_COMPRESSED_TEXT_BYTES, _MAX_COMPRESSED_TEXTS = 16 << 10, 8
_COMPRESSED_TEXT = frozenset({b"zTXt", b"iTXt"})
_PLAIN_CHUNKS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
    | {b"tEXt", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"eXIf", b"tIME"}
    | _COMPRESSED_TEXT
)
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def is_bounded_by_header(data: bytes, header: ImageHeader) -> bool:
    """Returns whether decoding takes no more time and memory than usual for the size that the header gives.

    False means unknown. Colour profiles are not checked: those of unbounded cost are ignored.
    """
    check = _CHECKS.get(header.format)
    try:
        return check is not None and check(data, header)
    except (Problem, IncompleteError):
        return False


def _jpeg_is_bounded(data: bytes, header: ImageHeader) -> bool:
    segments = list(jpeg.segments(data))
    frames = [segment for segment in segments if segment.marker in jpeg.START_OF_FRAME]
    if len(frames) != 1 or frames[0].marker in _ARITHMETIC_FRAMES:
        return False
    if read_exactly(data, frames[0].start + 5, 1)[0] > _MAX_COMPONENTS:
        return False
    scans = count_scans(data, segments[-1].start + segments[-1].size_bytes)
    if jpeg.is_progressive(segment.marker for segment in segments):
        return scans * header.pixels <= _MAX_SCANNED_PX
    return scans <= _MAX_SEQUENTIAL_SCANS


def _png_is_bounded(data: bytes, header: ImageHeader) -> bool:
    chunks = list(png.chunks(data, limit=_MAX_CHUNKS))
    text_bytes = [chunk.size_bytes for chunk in chunks if chunk.kind in _COMPRESSED_TEXT]
    if any(chunk.kind not in _PLAIN_CHUNKS for chunk in chunks) or sum(chunk.kind == b"iCCP" for chunk in chunks) > 1:
        return False
    if len(text_bytes) > _MAX_COMPRESSED_TEXTS or sum(text_bytes) > _MAX_COMPRESSED_TEXT_BYTES:
        return False
    return _pixels_are_bounded(data, header, chunks)


def _pixels_are_bounded(data: bytes, header: ImageHeader, chunks: list[png.Chunk]) -> bool:
    """Returns whether the pixels inflate to the header's size at most: libpng would inflate any surplus to its end."""
    colour, interlaced = data[25], data[28]
    row_bytes = 1 + (header.width * _PNG_CHANNELS[colour] * header.bit_depth + 7) // 8
    if interlaced or row_bytes * header.height > _MAX_RAW_PNG_BYTES:
        return False
    compressed = b"".join(
        read_exactly(data, chunk.start, chunk.size_bytes) for chunk in chunks if chunk.kind == b"IDAT"
    )
    return _inflates_within(compressed, row_bytes * header.height)


def _inflates_within(compressed: bytes, size_bytes: int) -> bool:
    """Uses libdeflate, which stops at the end of the output buffer and takes a third of zlib's time."""
    try:
        imagecodecs.deflate_decode(compressed, out=size_bytes)
    except RuntimeError:
        return False
    return True


def _webp_is_bounded(data: bytes, header: ImageHeader) -> bool:
    """Only lossy files without extensions: lossless ones may have any number of code tables, animations of frames."""
    return read_exactly(data, 12, 4) == b"VP8 "


_CHECKS: Mapping[ImageFormat, Callable[[bytes, ImageHeader], bool]] = {
    ImageFormat.JPEG: _jpeg_is_bounded,
    ImageFormat.PNG: _png_is_bounded,
    ImageFormat.WEBP: _webp_is_bounded,
}
