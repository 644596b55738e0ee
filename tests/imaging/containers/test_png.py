import zlib

import imagecodecs
import numpy as np
import pytest

from sightline.api.problems import Problem
from sightline.imaging.containers import png
from sightline.imaging.formats import Metadata

FILE = bytes(imagecodecs.png_encode(np.zeros((3, 4, 3), np.uint8)))


@pytest.mark.parametrize("metadata", [Metadata(), Metadata(5), Metadata(1, b"a profile"), Metadata(8, b"p" * 99_999)])
def test_written_metadata_is_read(metadata: Metadata) -> None:
    data = png.with_metadata(FILE, metadata)
    assert png.read_metadata(data) == metadata
    assert png.read_header(data) == png.read_header(FILE)


def test_profile_bomb_is_not_inflated() -> None:
    bomb = png.with_metadata(FILE, Metadata(1, bytes(40 << 20)))
    assert len(bomb) < 1 << 17
    assert png.read_metadata(bomb).icc_profile == b""


def test_invalid_profile_is_empty() -> None:
    data = png.with_metadata(FILE, Metadata(1, b"a profile"))
    assert png.read_metadata(data.replace(zlib.compress(b"a profile"), b"0" * 17)).icc_profile == b""


def test_endless_chunks_are_refused() -> None:
    data = FILE[:33] + b"\0\0\0\0tEXt\0\0\0\0" * 2000
    with pytest.raises(Problem, match="too many chunks"):
        png.read_header(data)
