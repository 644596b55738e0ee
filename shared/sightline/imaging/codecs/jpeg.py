"""JPEG: libjpeg-turbo for the usual files, Pillow for those that it is too strict about."""

import re
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg

from sightline.imaging.codecs import pillow
from sightline.imaging.containers import jpeg, jpeg_scans
from sightline.imaging.formats import Buffer, ImageHeader, unreadable
from sightline.imaging.picture import DecodedImage, Samples

_MODES = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}
# Every scan of a progressive file is a pass over all pixels: a file of empty scans would keep a core busy for hours.
_MAX_SCANS = 200
_DAMAGED = "The JPEG file is truncated or damaged."
_END, _FILLER = b"\xff\xd9", b"\x6d\xb6\xdb" * 64
# Stuffed bytes, TEM and restart markers have no length behind them.
_ENTROPY_CODED_END = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Files without an end marker are read where their pixels are complete; what follows the picture is cut off."""
    _require_few_scans(data)
    ending = jpeg_scans.find_ending(data)
    if not (ending.marked or ending.complete):
        raise unreadable(_DAMAGED)
    whole = data if ending.marked else data[: ending.at] + _END
    strict = _decode_tidily(whole, header, min_short_side_px)
    if strict is not None and ending.marked:
        return DecodedImage(strict, jpeg.read_metadata(whole))
    if not (ending.complete and jpeg_scans.has_all_restart_markers(data[: ending.at])):
        raise unreadable(_DAMAGED)
    decoded = _decode_leniently(whole, header, min_short_side_px)

    def needs_no_byte_behind(end: int) -> bool:
        """Lenient decoders fill in what is missing. It would come out otherwise with other bytes at the end."""
        padded = _decode_leniently(data[:end] + _FILLER + _END, header, min_short_side_px)
        return np.array_equal(decoded.samples, padded.samples)

    if not needs_no_byte_behind(ending.at) or _reads_padding(data, ending.at, needs_no_byte_behind):
        raise unreadable(_DAMAGED)
    return decoded


def _reads_padding(data: bytes, end: int, needs_no_byte_behind: Callable[[int], bool]) -> bool:
    """Whether pixels come from zeros that pad a file of which parts are missing: zeros decode like a picture.

    Plain areas may be coded in zeros as well, but then all of them are needed.
    """
    padding_at = jpeg_scans.padding_start(data, end)
    if padding_at == end or needs_no_byte_behind(padding_at):
        return False
    return needs_no_byte_behind(end - jpeg_scans.MIN_PADDING_BYTES // 2)


def _decode_tidily(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Samples | None:
    """None where only lenient decoders read the file, or the colour model needs them."""
    for tidied in (data, jpeg_scans.without_stray_bytes(data)):
        try:
            return _decode_strictly(tidied, header, min_short_side_px)
        except ValueError as error:
            if _is_damage(str(error)):
                raise unreadable(_DAMAGED) from error
    return None


def _decode_leniently(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    try:
        samples = _decode_strictly(data, header, min_short_side_px, strict=False)
    except ValueError:
        samples = None
    return pillow.decode_jpeg(data, header) if samples is None else DecodedImage(samples, jpeg.read_metadata(data))


def _decode_strictly(
    data: bytes, header: ImageHeader, min_short_side_px: int | None, *, strict: bool = True
) -> Samples | None:
    """None for colour models that need more than libjpeg's naive conversion."""
    height, width, model, _ = simplejpeg.decode_jpeg_header(data)
    if (width, height) != (header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")
    if model not in _MODES:
        return None
    side_px = min_short_side_px or 0
    scaled = {"min_height": side_px, "min_width": side_px}
    samples: Samples = simplejpeg.decode_jpeg(data, _MODES[model], strict=strict, **scaled)
    return np.atleast_3d(samples)


def _is_damage(message: str) -> bool:
    """Stray bytes between segments harm nothing; missing or impossible codes leave parts of the picture grey."""
    return message.startswith(("Premature end", "Corrupt JPEG data")) and "extraneous bytes" not in message


def _require_few_scans(data: Buffer) -> None:
    *_, first_scan = segments = list(jpeg.segments(data))
    progressive = jpeg.is_progressive(segment.marker for segment in segments)
    if progressive and count_scans(data, first_scan.start + first_scan.size_bytes) > _MAX_SCANS:
        raise unreadable("The JPEG file has too many scans.")


def count_scans(data: Buffer, position: int) -> int:
    """Scans from the first, whose entropy-coded data starts at `position`, up to one more than the limit."""
    scans = 1
    while scans <= _MAX_SCANS and (found := _ENTROPY_CODED_END.search(data, position)):
        marker = data[found.end() - 1]
        if marker == jpeg.EOI or found.end() + 2 > len(data):
            break
        scans += marker == jpeg.SOS
        position = found.end() + struct.unpack(">H", data[found.end() : found.end() + 2])[0]
    return scans
