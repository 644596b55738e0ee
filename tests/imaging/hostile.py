"""Small files that take far more time or memory to decode than their headers suggest."""

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def packed_zeros(size_bytes: int, further_mb: int) -> bytes:
    """Returns a zlib stream of zeros, in independent blocks of a mebibyte that can be repeated."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(size_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = ((size_bytes + (further_mb << 20)) % 65_521) << 16 | 1
    return first + block * further_mb + b"\3\0" + struct.pack(">I", checksum)


def png(*, side_px: int = 64, before: bytes = b"", behind: bytes = b"", surplus_mb: int = 0) -> bytes:
    """Returns a black picture; `surplus_mb` of zeros follow its rows in the same stream."""
    size_bytes = (3 * side_px + 1) * side_px
    packed = packed_zeros(size_bytes, surplus_mb)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, before, chunk(b"IDAT", packed), behind, chunk(b"IEND", b"")])


def packed_texts(count: int, kind: bytes = b"zTXt") -> bytes:
    """Text chunks of 7 MB each, which are just below what libpng takes."""
    start = b"k\0\0" if kind == b"zTXt" else b"k\0\1\0\0\0"
    return chunk(kind, start + zlib.compress(bytes(7_000_000), 9)) * count


def profile_with_chain(elements: int) -> bytes:
    """Returns an RGB display profile whose transform to the connection space is a chain of identity matrices."""
    matrix = b"matf" + bytes(4) + struct.pack(">HH", 3, 3) + struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    positions_bytes = 16 + 8 * elements
    position = struct.pack(">II", positions_bytes, len(matrix))
    chain = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, elements) + position * elements + matrix
    return profile([(b"D2B0", chain), (b"D2B1", chain), (b"B2D0", chain), (b"B2D1", chain)])


def profile_with_curves(points: int) -> bytes:
    """Returns the sRGB profile with curves of this number of points."""
    curve = b"curv" + bytes(4) + struct.pack(">I", points) + np.linspace(0, 65535, points).astype(">u2").tobytes()
    return profile([(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")])


def profile(tags: list[tuple[bytes, bytes]]) -> bytes:
    """Returns the sRGB profile with these tags replaced or added."""
    srgb = bytes(imagecodecs.cms_profile("srgb"))
    (count,) = struct.unpack_from(">I", srgb, 128)
    entries = [struct.unpack_from(">4sII", srgb, 132 + 12 * number) for number in range(count)]
    merged = {name: srgb[start : start + size] for name, start, size in entries} | dict(tags)
    table, body, placed = b"", b"", {}
    start = 132 + 12 * len(merged)
    for name, tag in merged.items():
        if tag not in placed:
            placed[tag] = start + len(body)
            body += tag + bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name, placed[tag], len(tag))
    data = srgb[:128] + struct.pack(">I", len(merged)) + table + body
    return struct.pack(">I", len(data)) + data[4:8] + bytes([4, 0x40, 0, 0]) + data[12:]


def png_with_profile(icc_profile: bytes) -> bytes:
    return png(before=chunk(b"iCCP", b"p\0\0" + zlib.compress(icc_profile, 9)))


def jpeg_of_scans(scans: int, *, side_px: int, hidden: bool = False) -> bytes:
    """Returns a progressive grey picture with its last scan repeated; `hidden` behind markers without a length."""
    data = saved("JPEG", side_px, mode="L", progressive=True)
    last = data.rfind(b"\xff\xda")
    scan = data[last : data.rfind(b"\xff\xd9")]
    gap = b"\xff\x01\xff\xfe\x00\x02" if hidden else b""
    return data[:last] + (scan + gap) * scans + b"\xff\xd9"


def saved(image_format: str, side_px: int, *, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side_px, side_px)).save(file, image_format, **options)
    return file.getvalue()


def avif_track(side_px: int, *, said_px: int) -> bytes:
    """Returns an image sequence whose item properties give another size than its frames."""
    frames = [Image.new("RGB", (side_px, side_px), (shade, 0, 0)) for shade in (0, 9)]
    file = io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    real, said = struct.pack(">II", side_px, side_px), struct.pack(">II", said_px, said_px)
    return file.getvalue().replace(b"ispe" + bytes(4) + real, b"ispe" + bytes(4) + said)
