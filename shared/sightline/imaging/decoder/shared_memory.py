"""Anonymous shared memory (memfd), passed between processes as a file descriptor.

Not /dev/shm, of which a container has 64 MB.
"""

import fcntl
import mmap
import os
import sys
import tempfile

_MEMFD = sys.platform == "linux"


def create(size_bytes: int) -> int:
    """Returns a descriptor of `size_bytes` zero bytes."""
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


def seal_size(descriptor: int) -> int:
    """Seals and returns the size in bytes: reading a mapping that another process shrinks would kill the reader."""
    if _MEMFD:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return os.fstat(descriptor).st_size


def map_all(descriptor: int) -> mmap.mmap:
    """Maps the whole contents, readable and writable, for as long as an object refers to the map."""
    return mmap.mmap(descriptor, 0)


def write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Writes all of the data at this offset."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
