"""PNG: a chain of chunks; IHDR comes first, acTL tells an animation (PNG third edition, sections 5 and 11)."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sightline.imaging.containers import tiff
from sightline.imaging.formats import Buffer, ImageFormat, ImageHeader, take, unreadable
from sightline.imaging.metadata import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS_BEFORE_PIXELS, _MAX_CHUNKS = 1024, 200_000
_MAX_ICC_BYTES = 16 << 20
_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """`start` is the offset of the data behind length and kind."""

    kind: bytes
    start: int
    size_bytes: int


def chunks(data: Buffer, *, limit: int) -> Iterator[Chunk]:
    """The chunks in front of IEND."""
    position = len(SIGNATURE)
    for _ in range(limit):
        size_bytes, kind = struct.unpack(">I4s", take(data, position, 8))
        if size_bytes > 0x7FFFFFFF or not kind.isalpha():
            raise unreadable("The PNG file has a broken chunk.")
        if kind == b"IEND":
            return
        yield Chunk(kind, position + 8, size_bytes)
        position += size_bytes + 12
    raise unreadable("The PNG file has too many chunks.")


def read_header(data: Buffer) -> ImageHeader:
    width, height, bit_depth = _image_header(take(data, len(SIGNATURE), 25))
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
            (frames,) = struct.unpack(">I", take(data, chunk.start, 4))
            return max(1, int(frames))
        if chunk.kind == b"IDAT":
            return 1
    raise unreadable("The PNG file has no pixels.")


def read_metadata(data: Buffer) -> Metadata:
    """Of a whole file: some writers put the EXIF data behind the pixels, where browsers do not heed it."""
    orientation = {False: 1, True: 1}  # by whether the pixels came before
    icc_profile: bytes | None = None
    behind_pixels = False
    for chunk in chunks(data, limit=_MAX_CHUNKS):
        behind_pixels = behind_pixels or chunk.kind == b"IDAT"
        if chunk.kind == b"eXIf":
            orientation[behind_pixels] = tiff.read_orientation(take(data, chunk.start, chunk.size_bytes))
        elif chunk.kind == b"iCCP":
            icc_profile = _inflate_profile(take(data, chunk.start, chunk.size_bytes))
    return Metadata(orientation[False], icc_profile, orientation_ignored=orientation[False] == 1 != orientation[True])


def _inflate_profile(payload: bytes) -> bytes:
    """The profile, or the empty bytes where it is broken or a bomb."""
    _, _, compressed = payload.partition(b"\0")
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(compressed[1:], _MAX_ICC_BYTES)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""


def with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """The file with a profile and an orientation behind its header; it must have neither yet."""
    added = []
    if metadata.icc_profile is not None:
        added.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.orientation != 1:
        added.append(_chunk(b"eXIf", tiff.orientation_exif(metadata.orientation)))
    header_end = len(SIGNATURE) + 25
    return b"".join([data[:header_end], *added, data[header_end:]])


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
