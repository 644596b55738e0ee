import io
import os

import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from sightline.imaging.private_metadata import PrivateMetadata, find_private_metadata

GPS = {1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)}
SERIALS = {0xA431: "SN-4711", 0xA435: "L-0815"}
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]


def photo(format_name: str, *, gps: bool = False, serials: bool = False) -> bytes:
    register_heif_opener()
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x010F] = "Maker"
    if gps:
        exif.get_ifd(0x8825).update(GPS)
    if serials:
        exif.get_ifd(0x8769).update(SERIALS)
    Image.new("RGB", (48, 32), (90, 80, 70)).save(file, format_name, exif=exif.tobytes())
    return file.getvalue()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("gps", [False, True])
@pytest.mark.parametrize("serials", [False, True])
def test_position_and_serial_numbers_are_found_in_every_format(format_name: str, gps: bool, serials: bool) -> None:
    data = photo(format_name, gps=gps, serials=serials)
    assert find_private_metadata(data) == PrivateMetadata(gps=gps, serial_numbers=serials)


def test_position_in_xmp_is_found() -> None:
    file = io.BytesIO()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>48,51.5N</exif:GPSLatitude></x:xmpmeta>'
    Image.new("RGB", (8, 8)).save(file, "JPEG", xmp=xmp)
    assert find_private_metadata(file.getvalue()) == PrivateMetadata(gps=True, serial_numbers=False)


def test_directory_of_gps_without_a_position_is_none() -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8825).update({0: b"\2\3\0\0"})
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif.tobytes())
    assert not find_private_metadata(file.getvalue()).gps


def test_hostile_bytes_are_survived() -> None:
    for data in (b"", b"II*\0", b"MM\0*\0\0\0\x08" * 5000, b"II*\0" + os.urandom(4096), b"II*\0\x08\0\0\0\xff\xff"):
        assert not find_private_metadata(data).gps
