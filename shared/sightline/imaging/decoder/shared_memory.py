"""Memory that two processes share: anonymous files, passed over sockets, whose pages belong to nobody's disk.

Not /dev/shm, of which a container has 64 MB.
"""

import fcntl
import mmap
import os
import sys
import tempfile

_MEMFD = sys.platform == "linux"


def create(size_bytes: int) -> int:
    """A descriptor of that many zero bytes."""
    if _MEMFD:
        descriptor = os.memfd_create("sightline", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def fix_size(descriptor: int) -> int:
    """The size in bytes, which no process can change from now on: reading behind a shrunken end kills the reader."""
    if _MEMFD:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return os.fstat(descriptor).st_size


def map_all(descriptor: int) -> mmap.mmap:
    """The contents, readable and writable; lives for as long as anything refers to it."""
    return mmap.mmap(descriptor, 0)


def write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
