"""Private metadata of picture files: position, and serial numbers of camera and lens, in EXIF and XMP.

Results never carry them, because encoders write the orientation and the colour space alone; evidence records say what
was left out. The search runs on bytes without a container parser, so that it finds EXIF wherever a file keeps it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sightline.imaging.containers import tiff

EXIF_DIRECTORY, GPS_DIRECTORY = 0x8769, 0x8825
_DIRECTORIES = frozenset({EXIF_DIRECTORY, GPS_DIRECTORY})
_POSITION = frozenset({(GPS_DIRECTORY, 2), (GPS_DIRECTORY, 4)})  # latitude, longitude
_SERIALS = frozenset({(EXIF_DIRECTORY, 0xA431), (EXIF_DIRECTORY, 0xA435), (0, 0xC62F)})  # body, lens, DNG's camera
_XMP_POSITION, _XMP_SERIAL = b"GPSLatitude", b"SerialNumber"
_EXIF_HEADERS = (b"II*\0", b"MM\0*")
_MAX_HEADERS = 64  # of each byte order; files have a few, for the photo and its previews


@dataclass(frozen=True, slots=True)
class PrivateMetadata:
    """Kinds of private metadata in a file."""

    gps: bool
    serial_numbers: bool


def find_private_metadata(data: bytes) -> PrivateMetadata:
    """Returns the kinds that a picture file carries; metadata that is compressed or in maker notes is not found."""
    view = memoryview(data)
    tags = {tag for at in _header_offsets(data) for tag in tiff.find_tags(view[at:], _DIRECTORIES)}
    return PrivateMetadata(
        gps=not _POSITION.isdisjoint(tags) or _XMP_POSITION in data,
        serial_numbers=not _SERIALS.isdisjoint(tags) or _XMP_SERIAL in data,
    )


def _header_offsets(data: bytes) -> Iterator[int]:
    for header in _EXIF_HEADERS:
        at = data.find(header)
        for _ in range(_MAX_HEADERS):
            if at < 0:
                break
            yield at
            at = data.find(header, at + 1)
