import numpy as np
import pytest
import simplejpeg

from sightline.imaging.containers import jpeg
from sightline.imaging.formats import Metadata

FILE = bytes(simplejpeg.encode_jpeg(np.zeros((16, 24, 3), np.uint8)))


@pytest.mark.parametrize("metadata", [Metadata(), Metadata(5), Metadata(1, b"a profile"), Metadata(8, b"p" * 199_999)])
def test_written_metadata_is_read(metadata: Metadata) -> None:
    data = jpeg.with_metadata(FILE, metadata)
    assert jpeg.read_metadata(data) == metadata
    assert jpeg.read_header(data) == jpeg.read_header(FILE)


def test_jfif_segment_stays_first() -> None:
    data = jpeg.with_metadata(FILE, Metadata(6, b"a profile"))
    assert [segment.marker for segment in jpeg.segments(data)][:3] == [0xE0, jpeg.APP1, jpeg.APP2]


def test_profile_parts_are_joined_in_order() -> None:
    profile = bytes(range(256)) * 600
    data = jpeg.with_metadata(FILE, Metadata(1, profile))
    first, second, third = [segment for segment in jpeg.segments(data) if segment.marker == jpeg.APP2]
    ends = [segment.start + segment.size_bytes for segment in (first, second, third)]
    swapped = data[: first.start - 4] + data[ends[0] : ends[1]] + data[first.start - 4 : ends[0]] + data[ends[1] :]
    assert jpeg.read_metadata(swapped).icc_profile == profile
