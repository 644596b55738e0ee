"""Numbers in JSON to and from tensors, in bounded memory and without rounding a number to another type.

Python objects take up to a hundred times the room of their text, so that a text is counted before it is parsed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.serving.signature import ModelSignature
from sightline.serving.v2.schemas import DTYPES, DataType

SPARE = 10_000  # lists, commas and quotes beyond those of the tensors: parameters, names, outputs
MAX_OBJECTS = 1000
CHUNK = 1 << 16  # values converted at a time: other threads run in between
MAX_WHOLE_FLOAT = 2.0**53  # beyond it a float does not tell one whole number from the next


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How many values, and lists of values, the JSON of one request may have."""

    values: int
    lists: int

    @classmethod
    def of(cls, signature: ModelSignature, *, max_batch: int) -> "JsonLimits":
        """What the largest batch needs if its tensors are nested lists."""
        shapes = [[(max_batch, *shape) for shape in key] for key in signature.keys]
        return cls(
            values=max(sum(map(_values, each)) for each in shapes),
            lists=max(sum(map(_lists, each)) for each in shapes),
        )

    def check(self, text: bytes) -> None:
        """Raises Problem INVALID_REQUEST before anything is made of the text."""
        counts = {"values": (b",", self.values), "lists": (b"[", self.lists), "texts": (b'"', 0)}
        for what, (mark, limit) in counts.items():
            if text.count(mark) > limit + SPARE:
                raise _invalid(f"The JSON has more {what} than the largest request to this model; send binary tensors.")
        if text.count(b"{") > MAX_OBJECTS:
            raise _invalid(f"The JSON has more than {MAX_OBJECTS} objects.")


def parse_json(text: bytes, limits: JsonLimits) -> Any:
    """Raises Problem INVALID_REQUEST."""
    limits.check(text)
    try:
        return json.loads(text.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _invalid("The JSON is not an inference request: it cannot be parsed.") from error


def tensor_of(data: list[Any], data_type: DataType, *, name: str) -> NDArray[Any]:
    """One axis of values out of a flat or nested list.

    Raises Problem INVALID_REQUEST where a value is not of the type: a fraction, a text, a truth value or a number out
    of range is refused instead of rounded.
    """
    try:
        flat = _flattened(data)
        values = np.empty(len(flat), DTYPES[data_type])
        for start in range(0, len(flat), CHUNK):
            chunk = flat[start : start + CHUNK]
            values[start : start + len(chunk)] = _converted(chunk, data_type)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(f"The data of the input {name!r} is not {data_type}.") from error
    return values


def json_values(values: NDArray[Any], *, name: str) -> Iterator[bytes]:
    """The values with commas in between; raises Problem INVALID_REQUEST for those that JSON does not have."""
    flat = values.reshape(-1)
    try:
        for start in range(0, flat.size, CHUNK):
            text = json.dumps(flat[start : start + CHUNK].tolist(), allow_nan=False)[1:-1]
            yield (", " if start else "").encode() + text.encode()
    except ValueError as error:
        detail = f"The output {name!r} has values that are no JSON numbers; ask for it with `binary_data`."
        raise _invalid(detail) from error


def _flattened(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        width = len(data[0])
        if any(not isinstance(row, list) or len(row) != width for row in data):
            raise ValueError("ragged")
        data = list(chain.from_iterable(data))
    return data


def _converted(chunk: list[Any], data_type: DataType) -> NDArray[Any]:
    kinds, dtype = set(map(type, chunk)), np.dtype(DTYPES[data_type])
    allowed = {bool} if dtype.kind == "b" else {int, float}
    if not kinds <= allowed:
        raise TypeError("another type")
    if dtype.kind == "f":
        return _narrowed(np.array(chunk, np.float64), dtype)
    # NumPy raises where a whole number is out of range, and cuts fractions off silently.
    return np.array(list(map(_whole, chunk)) if float in kinds else chunk, dtype)


def _whole(value: Any) -> int:
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= MAX_WHOLE_FLOAT):
        raise ValueError("a fraction")
    return int(value)


def _narrowed(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        narrowed = values.astype(dtype)
    if not np.isfinite(narrowed).all():
        raise OverflowError("out of range")
    return narrowed


def _values(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _lists(shape: tuple[int, ...]) -> int:
    """Of a nested list of this shape: one, and those within each axis but the last."""
    return 1 + sum(_values(shape[:axis]) for axis in range(1, len(shape)))


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


def _invalid(detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, detail)
