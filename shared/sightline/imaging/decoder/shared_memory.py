"""Anonymous shared memory (memfd), passed between processes as a file descriptor, and pictures in it.

Not /dev/shm, of which a container has 64 MB.
"""

import fcntl
import io
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Sequence
from enum import Enum
from importlib import import_module
from typing import Any

from sightline.imaging.formats import unreadable

_MEMFD = sys.platform == "linux"
_NUMPY_CLASSES = frozenset({("numpy", "dtype"), ("numpy._core.numeric", "_frombuffer")})


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


class _Pickler(pickle.Pickler):
    """Pickles enum members by value: before Python 3.11.4 they would need `getattr` to be unpickled."""

    def reducer_override(self, value: Any) -> Any:
        return (type(value), (value.value,)) if isinstance(value, Enum) else NotImplemented


def serialize(result: Any) -> tuple[int, list[int], int]:
    """Returns size, lengths of the parts, and descriptor of shared memory: the pickle, then the arrays it refers to."""
    buffers: list[pickle.PickleBuffer] = []
    head = io.BytesIO()
    _Pickler(head, protocol=5, buffer_callback=buffers.append).dump(result)
    parts = [head.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = [part.nbytes for part in parts]
    descriptor = create(sum(map(align, lengths)))
    offset = 0
    for part in parts:
        write(descriptor, part, offset)
        offset += align(part.nbytes)
    return offset, lengths, descriptor


def align(size_bytes: int) -> int:
    """Rounds up to a cache line, at which the next array starts."""
    return -(-size_bytes // 64) * 64


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays and imaging's data classes and enums only, as the decoder may be compromised."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY_CLASSES:
            return getattr(import_module(module), name)
        if module.startswith("sightline.imaging.") and "." not in name:
            found = getattr(import_module(module), name, None)
            if isinstance(found, type) and (issubclass(found, Enum) or hasattr(found, "__dataclass_fields__")):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a picture")


def deserialize(descriptor: int, lengths: Sequence[int], max_bytes: int) -> Any:
    """Returns the object whose parts have these lengths; its arrays stay in the shared memory.

    Raises Problem UNREADABLE_IMAGE if the memory is larger than `max_bytes` or than its parts.
    """
    size_bytes = seal_size(descriptor)
    if size_bytes > max_bytes or size_bytes != sum(map(align, lengths)):
        raise unreadable("The picture takes more memory than its header says.")
    memory = memoryview(map_all(descriptor))
    parts, offset = [], 0
    for length in lengths:
        parts.append(memory[offset : offset + length])
        offset += align(length)
    return _Unpickler(io.BytesIO(parts[0]), buffers=parts[1:]).load()
