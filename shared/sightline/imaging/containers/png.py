"""PNG container: chunks, header and metadata (PNG third edition, sections 5 and 11)."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sightline.api.problems import Problem
from sightline.imaging.colour_spaces.tags import (
    Chromaticities,
    ColourTags,
    png_chunk,
    srgb_tags,
    tags_from_cicp,
    tags_from_gamma,
)
from sightline.imaging.containers import tiff
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    Metadata,
    read_exactly,
    unreadable,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS_BEFORE_PIXELS, _MAX_CHUNKS = 1024, 200_000
_MAX_ICC_BYTES = 16 << 20
_METADATA_CHUNKS = frozenset({b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI"})
_COLOUR_AT, _PALETTE = 25, 3
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_TRANSPARENCY_BYTES = {0: 2, 2: 6}
_UNSPECIFIED = b"\2"
_END = png_chunk(b"IEND", b"")
_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk; start, size_bytes: of the data behind length and kind."""

    kind: bytes
    start: int
    size_bytes: int


def chunks(data: Buffer, *, limit: int) -> Iterator[Chunk]:
    """Yields the chunks before IEND; raises Problem UNREADABLE_IMAGE for more than `limit`."""
    position = len(SIGNATURE)
    for _ in range(limit):
        size_bytes, kind = struct.unpack(">I4s", read_exactly(data, position, 8))
        if size_bytes > 0x7FFFFFFF or not kind.isalpha():
            raise unreadable("The PNG file has a broken chunk.")
        if kind == b"IEND":
            return
        yield Chunk(kind, position + 8, size_bytes)
        position += size_bytes + 12
    raise unreadable("The PNG file has too many chunks.")


def read_header(data: Buffer) -> ImageHeader:
    """Reads the header from IHDR, and the number of frames from acTL."""
    width, height, bit_depth = _image_header(read_exactly(data, len(SIGNATURE), 25))
    return ImageHeader(ImageFormat.PNG, width, height, _frames(data), bit_depth)


def _image_header(chunk: bytes) -> tuple[int, int, int]:
    size_bytes, kind, width, height, bit_depth, colour, *methods, checksum = struct.unpack(">I4sIIBBBBBI", chunk)
    if kind != b"IHDR" or size_bytes != 13 or checksum != zlib.crc32(chunk[4:21]):
        raise unreadable("The PNG header is broken.")
    if not 0 < width <= 0x7FFFFFFF or not 0 < height <= 0x7FFFFFFF or bit_depth not in _BIT_DEPTHS.get(colour, ()):
        raise unreadable("The PNG header gives an impossible size or pixel format.")
    if methods[0] or methods[1] or methods[2] > 1:
        raise unreadable("The PNG header names an unknown compression.")
    return width, height, bit_depth


def _frames(data: Buffer) -> int:
    for chunk in chunks(data, limit=_MAX_CHUNKS_BEFORE_PIXELS):
        if chunk.kind == b"acTL":
            (frames,) = struct.unpack(">I", read_exactly(data, chunk.start, 4))
            return max(1, int(frames))
        if chunk.kind == b"IDAT":
            return 1
    raise unreadable("The PNG file has no pixels.")


def channels(data: Buffer) -> int:
    """Returns the channels of the decoded picture: palettes become RGB, a valid tRNS chunk becomes alpha."""
    colour, palette_colours = read_exactly(data, _COLOUR_AT, 1)[0], 0
    for chunk in chunks(data, limit=_MAX_CHUNKS_BEFORE_PIXELS):
        if chunk.kind == b"IDAT":
            break
        if chunk.kind == b"PLTE":
            palette_colours = chunk.size_bytes // 3
        if chunk.kind == b"tRNS" and _is_valid_transparency(data, chunk, colour, palette_colours):
            return _CHANNELS[colour] + 1
    return _CHANNELS[colour]


def _is_valid_transparency(data: Buffer, chunk: Chunk, colour: int, palette_colours: int) -> bool:
    payload = read_exactly(data, chunk.start - 4, chunk.size_bytes + 8)
    by_palette = colour == _PALETTE and 0 < chunk.size_bytes <= palette_colours
    fits = by_palette or chunk.size_bytes == _TRANSPARENCY_BYTES.get(colour)
    return fits and zlib.crc32(payload[:-4]) == int.from_bytes(payload[-4:], "big")


def _valid_chunks(data: Buffer) -> Iterator[Chunk]:
    """Yields the chunks up to IEND, or up to the first invalid one behind the pixels; the last may be truncated."""
    pixels = False
    walk = chunks(data, limit=_MAX_CHUNKS)
    while True:
        try:
            chunk = next(walk, None)
        except (Problem, IncompleteError):
            if not pixels:
                raise
            return
        if chunk is None:
            return
        pixels = pixels or chunk.kind == b"IDAT"
        yield chunk


def up_to_pixels(data: bytes) -> bytes:
    """Returns the file up to its pixels and an end chunk; the same bytes if nothing else follows the pixels.

    A truncated last IDAT chunk gets the length and checksum of its remaining data; the decoder validates the pixels.
    """
    last = None
    for chunk in _valid_chunks(data):
        last = chunk if chunk.kind == b"IDAT" else last
    if last is None:
        return data
    end = last.start + last.size_bytes + 4
    if data[end : end + len(_END)] == _END:
        return data
    if end <= len(data):
        return data[:end] + _END
    return data[: last.start - 8] + png_chunk(b"IDAT", data[last.start : last.start + last.size_bytes]) + _END


def read_metadata(data: Buffer) -> Metadata:
    """Reads the metadata of a whole file: some writers put EXIF behind the pixels, where browsers ignore it."""
    before: dict[bytes, bytes] = {}
    late_exif, behind_pixels = b"", False
    for chunk in _valid_chunks(data):
        behind_pixels = behind_pixels or chunk.kind == b"IDAT"
        if chunk.kind == b"eXIf" and behind_pixels:
            late_exif = bytes(data[chunk.start : chunk.start + chunk.size_bytes])
        elif chunk.kind in _METADATA_CHUNKS and not behind_pixels:
            before.setdefault(chunk.kind, read_exactly(data, chunk.start, chunk.size_bytes))
    orientation = tiff.read_orientation(before.get(b"eXIf", b""))
    late = orientation == 1 != tiff.read_orientation(late_exif)
    return replace(_read_colour(before), orientation=orientation, orientation_ignored=late)


def _read_colour(described: Mapping[bytes, bytes]) -> Metadata:
    """Reads the colour space in the order of precedence of the specification: cICP, iCCP, sRGB, gAMA with cHRM."""
    coded = _read_cicp(described)
    if coded is not None:
        return Metadata(colour_tags=coded)
    ignored = b"cICP" in described and described[b"cICP"][1:2] != _UNSPECIFIED
    if b"iCCP" in described:
        return Metadata(icc_profile=_inflate_profile(described[b"iCCP"]), colour_tags_ignored=ignored)
    if b"sRGB" in described:
        chunks = _join_chunks(described, b"sRGB", b"gAMA", b"cHRM")
        return Metadata(colour_tags=srgb_tags(png_chunks=chunks), colour_tags_ignored=ignored)
    tags = _read_gamma(described)
    unreadable_gamma = tags is None and b"gAMA" in described
    return Metadata(colour_tags=tags, colour_tags_ignored=ignored or unreadable_gamma)


def _read_cicp(described: Mapping[bytes, bytes]) -> ColourTags | None:
    payload = described.get(b"cICP", b"")
    if len(payload) != 4 or payload[2]:  # PNG allows the identity matrix only
        return None
    kept = _join_chunks(described, b"cICP", b"mDCV", b"cLLI")
    return tags_from_cicp(payload[0], payload[1], peak_nits=_peak_nits(described), png_chunks=kept)


def _peak_nits(described: Mapping[bytes, bytes]) -> float | None:
    """Returns the brightest light of the content (`cLLI`), else of the mastering display (`mDCV`), in cd/m2."""
    levels, mastering = described.get(b"cLLI", b""), described.get(b"mDCV", b"")
    values = [levels[:4]] * (len(levels) == 8) + [mastering[16:20]] * (len(mastering) == 24)
    return next((int.from_bytes(value, "big") / 10_000 for value in values if any(value)), None)


def _read_gamma(described: Mapping[bytes, bytes]) -> ColourTags | None:
    payload = described.get(b"gAMA", b"")
    if len(payload) != 4:
        return None
    kept = _join_chunks(described, b"gAMA", b"cHRM")
    gamma = int.from_bytes(payload, "big") / 100_000
    return tags_from_gamma(gamma, _chromaticities(described.get(b"cHRM", b"")), png_chunks=kept)


def _chromaticities(payload: bytes) -> Chromaticities | None:
    if len(payload) != 32:
        return None
    white_x, white_y, *rest = (value / 100_000 for value in struct.unpack(">8I", payload))
    return white_x, white_y, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]


def _join_chunks(described: Mapping[bytes, bytes], *kinds: bytes) -> bytes:
    return b"".join(png_chunk(kind, described[kind]) for kind in kinds if kind in described)


def _inflate_profile(payload: bytes) -> bytes:
    """Returns the profile, or empty bytes if it is invalid or inflates to too many bytes."""
    _, _, compressed = payload.partition(b"\0")
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(compressed[1:], _MAX_ICC_BYTES)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""


def with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """Inserts profile, colour tags and orientation behind the header; the file must have none of them yet."""
    added = [metadata.colour_tags.png_chunks] if metadata.colour_tags is not None else []
    if metadata.icc_profile is not None:
        added.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.orientation != 1:
        added.append(png_chunk(b"eXIf", tiff.orientation_exif(metadata.orientation)))
    header_end = len(SIGNATURE) + 25
    return b"".join([data[:header_end], *added, data[header_end:]])
