"""Which further files an ONNX file keeps its tensors in.

Containers carry ONNX Runtime, which does not say, and not the package `onnx`: so the few fields that matter are read
out of the protocol buffer here (onnx.proto, "external data").
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

LOCATION = b"location"
KEY, VALUE = 1, 2
VARINT, BYTES = 0, 2
FIXED_BYTES = {1: 8, 5: 4}  # by wire type
# Of each message, the numbers of the fields that lead to tensors, and what message they are.
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


def external_files(path: Path) -> list[str]:
    """Relative paths as the file names them, sorted, each once; none of a file that is not ONNX."""
    with path.open("rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return sorted(set(_locations(data, "model")))
        except ValueError:  # empty, or no protocol buffer: ONNX Runtime will say so
            return []


def is_below(location: str) -> bool:
    """Whether the path of a further file leads to no other folder than the first's, or one in it."""
    path = PurePosixPath(location)
    return not path.is_absolute() and bool(path.parts) and ".." not in path.parts


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    for number, part in _fields(message):
        inner = FIELDS[kind].get(number)
        if inner == "entry":
            entry = {number: bytes(text) for number, text in _fields(part)}
            if entry.get(KEY) == LOCATION:
                yield entry.get(VALUE, b"").decode("utf-8", "surrogateescape")
        elif inner is not None:
            yield from _locations(part, inner)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and bytes of the fields that are messages or bytes; ValueError where the rest makes no sense."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _, at = _varint(message, at)
        elif wire_type == BYTES:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire_type in FIXED_BYTES:
            at += FIXED_BYTES[wire_type]
        else:
            raise ValueError("not a protocol buffer")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number and where the next thing begins."""
    value = 0
    for place in range(10):
        if at + place >= len(message):
            break
        value |= (message[at + place] & 0x7F) << (7 * place)
        if message[at + place] < 0x80:
            return value, at + place + 1
    raise ValueError("not a protocol buffer")
