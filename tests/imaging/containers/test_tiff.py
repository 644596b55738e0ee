import struct

import pytest

from sightline.imaging.containers import tiff


@pytest.mark.parametrize("orientation", range(1, 9))
def test_written_orientation_is_read(orientation: int) -> None:
    assert tiff.read_orientation(tiff.orientation_exif(orientation)) == orientation


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_impossible_orientations_are_ignored(value: int) -> None:
    assert tiff.read_orientation(struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, 274, 3, 1, value, 0, 0)) == 1


@pytest.mark.parametrize("data", [b"", b"II", b"II*\0", b"MM\0*\0\0\0\x08", b"II+\0\x04\0\0\0" + bytes(8)])
def test_invalid_data_has_no_orientation(data: bytes) -> None:
    assert tiff.read_orientation(data) == 1
    assert not tiff.has_more_pages(data, tiff.Directory({}, 0, 8))
