import os
import sys

import pytest

from sightline.imaging.decoder import shared_memory


def test_written_bytes_are_mapped() -> None:
    descriptor = shared_memory.create(10)

    shared_memory.write(descriptor, b"abc", 4)

    with os.fdopen(descriptor), shared_memory.map_all(descriptor) as memory:
        assert memory[:] == b"\0\0\0\0abc\0\0\0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux seals files")
def test_sealed_memory_keeps_its_size() -> None:
    descriptor = shared_memory.create(10)

    with os.fdopen(descriptor):
        assert shared_memory.seal_size(descriptor) == 10
        for size_bytes in (5, 20):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size_bytes)
