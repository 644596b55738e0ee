"""Tensors in JSON, in bounded memory and without rounding a number to another type.

Python objects take up to a hundred times the memory of their text, and no other thread runs while a JSON parser creates
them. So the arrays of numbers are cut out of the text and converted piece by piece; only the small rest is parsed
whole.
"""

import json
import math
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.serving.v2.schemas import DTYPES, DataType

MAX_REST_BYTES = 1 << 20
PIECE_BYTES = 1 << 18
PIECE_VALUES = 1 << 16
MAX_NUMBER_BYTES = 1 << 18  # with the blanks around it
MAX_WHOLE_FLOAT = 2.0**53  # beyond it, floats do not represent every whole number

# In valid JSON `"data":` is never within a text. A run of these characters ends in the array's last bracket, and what
# follows that in its object.
_DATA = re.compile(rb'"data"[ \t\r\n]*+:[ \t\r\n]*+(\[[][0-9eE+\-., \t\r\ntruefalse]*+)')
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b"[],"))


@dataclass(frozen=True, slots=True)
class NumberText:
    """The text of an array of numbers or truth values, flat or nested, not yet parsed."""

    text: bytes

    def tensor(self, shape: Sequence[int], data_type: DataType, *, name: str) -> NDArray[Any]:
        """Returns the values in row-major order, on one axis.

        Raises Problem INVALID_REQUEST where their number or nesting does not match the shape, or where one is not of
        the type: a fraction, a truth value or a number out of range is refused instead of rounded.
        """
        structure, size = self.text.translate(None, _ALL_BUT_STRUCTURE), math.prod(shape)
        count = structure.count(b",") + 1
        if count != size:
            raise _invalid(f"The input {name!r} has {count} values; its shape requires {size}.")
        if structure not in (_structure([size]), _structure(shape)):
            raise _invalid(f"The data of the input {name!r} must be flat, or nested according to its shape.")
        try:
            return _joined(_pieces(self.text.translate(_BRACKETS_TO_SPACES)), size, data_type)
        except (ValueError, TypeError, OverflowError) as error:
            raise _invalid(f"The data of the input {name!r} is not {data_type}.") from error


def parse_json(text: bytes) -> Any:
    """Returns the document with a `NumberText` in the place of each array of numbers called `data`.

    Raises Problem INVALID_REQUEST.
    """
    # A random token, so that no text of a client is mistaken for a placeholder.
    token, found = secrets.token_hex(16), list[NumberText]()

    def cut(match: re.Match[bytes]) -> bytes:
        end = match[1].rfind(b"]") + 1
        array = match[1][:end]
        if not array or array.count(b"[") != array.count(b"]"):
            return match[0]  # there is something else in it, such as a text
        found.append(NumberText(array))
        return b'"data":{"%b":%d}%b' % (token.encode(), len(found) - 1, match[1][end:])

    rest = _DATA.sub(cut, text)
    if len(rest) > MAX_REST_BYTES:
        detail = f"The JSON has more than {MAX_REST_BYTES} bytes outside of arrays of numbers called `data`."
        raise _invalid(detail, limit_bytes=MAX_REST_BYTES)
    try:
        return json.loads(
            rest.decode(),
            parse_constant=_no_number,
            object_hook=lambda members: found[members[token]] if token in members else members,
        )
    except (ValueError, RecursionError) as error:
        raise _invalid("The JSON is not an inference request: it cannot be parsed.") from error


def json_values(values: NDArray[Any], *, name: str) -> Iterator[bytes]:
    """Yields the values with commas in between. Raises Problem INVALID_REQUEST for values that JSON does not have."""
    flat = values.reshape(-1)
    try:
        for start in range(0, flat.size, PIECE_VALUES):
            text = json.dumps(flat[start : start + PIECE_VALUES].tolist(), allow_nan=False)[1:-1]
            yield (", " if start else "").encode() + text.encode()
    except ValueError as error:
        detail = f"The output {name!r} has values that JSON cannot express; request it with `binary_data`."
        raise _invalid(detail) from error


def _structure(shape: Sequence[int]) -> bytes:
    """Returns the brackets and commas of a nested list."""
    structure = b""
    for size in reversed(shape):
        structure = b"[" + b",".join([structure] * size) + b"]"
    return structure


def _pieces(text: bytes) -> Iterator[list[Any]]:
    start = 0
    while start < len(text):
        end = text.find(b",", start + PIECE_BYTES)
        end = len(text) if end < 0 else end
        if end - start > PIECE_BYTES + MAX_NUMBER_BYTES:
            raise ValueError("a number without end")
        yield json.loads(b"[" + text[start:end] + b"]")
        start = end + 1


def _joined(pieces: Iterator[list[Any]], size: int, data_type: DataType) -> NDArray[Any]:
    values, start = np.empty(size, DTYPES[data_type]), 0
    for piece in pieces:
        # A list of another length does not fit the slice.
        values[start : start + len(piece)] = _converted(piece, data_type)
        start += len(piece)
    if start != size:
        raise ValueError("values are missing")
    return values


def _converted(values: list[Any], data_type: DataType) -> NDArray[Any]:
    kinds, dtype = set(map(type, values)), np.dtype(DTYPES[data_type])
    allowed = {bool} if dtype.kind == "b" else {int, float}
    if not kinds <= allowed:
        raise TypeError("another type")
    if dtype.kind == "f":
        return _narrowed(np.array(values, np.float64), dtype)
    # NumPy raises where a whole number is out of range, and cuts fractions off silently.
    return np.array(list(map(_whole, values)) if float in kinds else values, dtype)


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


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


def _invalid(detail: str, **facts: Any) -> Problem:
    return Problem(Code.INVALID_REQUEST, detail, **facts)
