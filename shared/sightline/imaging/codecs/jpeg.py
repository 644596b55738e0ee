"""JPEG through libjpeg-turbo, and through Pillow for colour models and files that libjpeg-turbo rejects."""

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
# Each scan of a progressive file is a pass over all pixels: a file of empty scans would take hours.
_MAX_SCANS = 200
_DAMAGED = "The JPEG file is truncated or damaged."
_END, _FILLER = b"\xff\xd9", b"\x6d\xb6\xdb" * 64
# Stuffed bytes, TEM and restart markers have no length field.
_ENTROPY_CODED_END = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes a file whose coefficients are complete, even without an end marker; ignores data behind the picture."""
    _require_few_scans(data)
    picture_end = jpeg_scans.find_picture_end(data)
    if not (picture_end.marked or picture_end.complete):
        raise unreadable(_DAMAGED)
    whole = data if picture_end.marked else data[: picture_end.offset] + _END
    strict = _decode_without_stray_bytes(whole, header, min_short_side_px)
    if strict is not None and picture_end.marked:
        return DecodedImage(strict, jpeg.read_metadata(whole))
    if not (picture_end.complete and jpeg_scans.has_all_restart_markers(data[: picture_end.offset])):
        raise unreadable(_DAMAGED)
    decoded = _decode_leniently(whole, header, min_short_side_px)

    def is_complete_at(end: int) -> bool:
        """Lenient decoders conceal missing data: then other bytes at the end would change the pixels."""
        padded = _decode_leniently(data[:end] + _FILLER + _END, header, min_short_side_px)
        return np.array_equal(decoded.samples, padded.samples)

    if not is_complete_at(picture_end.offset) or _reads_padding(data, picture_end.offset, is_complete_at):
        raise unreadable(_DAMAGED)
    return decoded


def _reads_padding(data: bytes, end: int, is_complete_at: Callable[[int], bool]) -> bool:
    """Returns whether pixels come from zeros that pad a truncated file: zeros decode like a picture.

    Plain areas may be coded as zeros as well, but then all of the zeros are needed.
    """
    padding_at = jpeg_scans.padding_start(data, end)
    if padding_at == end or is_complete_at(padding_at):
        return False
    return is_complete_at(end - jpeg_scans.MIN_PADDING_BYTES // 2)


def _decode_without_stray_bytes(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Samples | None:
    """Returns None if only lenient decoders can read the file or its colour model."""
    for candidate in (data, jpeg_scans.without_stray_bytes(data)):
        try:
            return _decode_strictly(candidate, header, min_short_side_px)
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
    """Returns None for colour models that need more than libjpeg's naive conversion."""
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
    """Stray bytes between segments are harmless; missing or impossible codes leave parts of the picture grey."""
    return message.startswith(("Premature end", "Corrupt JPEG data")) and "extraneous bytes" not in message


def _require_few_scans(data: Buffer) -> None:
    *_, first_scan = segments = list(jpeg.segments(data))
    progressive = jpeg.is_progressive(segment.marker for segment in segments)
    if progressive and count_scans(data, first_scan.start + first_scan.size_bytes) > _MAX_SCANS:
        raise unreadable("The JPEG file has too many scans.")


def count_scans(data: Buffer, position: int) -> int:
    """Counts scans, up to one more than the limit; the data of the first scan starts at `position`."""
    scans = 1
    while scans <= _MAX_SCANS and (found := _ENTROPY_CODED_END.search(data, position)):
        marker = data[found.end() - 1]
        if marker == jpeg.EOI or found.end() + 2 > len(data):
            break
        scans += marker == jpeg.SOS
        position = found.end() + struct.unpack(">H", data[found.end() : found.end() + 2])[0]
    return scans
