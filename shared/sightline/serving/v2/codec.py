"""Tensors to and from the bodies of the Open Inference Protocol."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sightline.api.problems import Code, Problem
from sightline.serving.errors import invalid_fields
from sightline.serving.signature import Tensors
from sightline.serving.v2.schemas import (
    DATA_TYPES,
    DTYPES,
    InferRequest,
    InferResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

BINARY_SIZE = "binary_data_size"
UNSUPPORTED = ("shared_memory_region", "classification")


@dataclass(frozen=True, slots=True)
class Inference:
    """A decoded request: what was asked, and its tensors with their batch dimension."""

    request: InferRequest
    batch: Tensors


@dataclass(frozen=True, slots=True)
class Body:
    """A reply; `json_bytes` tells where its tensors begin, None when there are none behind the JSON."""

    content: bytes
    json_bytes: int | None


def decode(body: bytes, json_bytes: int | None) -> Inference:
    """`json_bytes` is how much of the body is JSON, the rest being tensors; None when all is."""
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise _invalid("The declared length of the JSON header is more than the body.")
    request = _parse(body[:json_bytes])
    tensors = memoryview(body)[len(body) if json_bytes is None else json_bytes :]
    batch: dict[str, NDArray[Any]] = {}
    for each in request.inputs:
        if each.name in batch:
            raise _invalid(f"The input {each.name!r} comes twice.")
        _refuse_unsupported(each)
        batch[each.name], tensors = _decode_input(each, tensors)
    if tensors:
        raise _invalid(f"{len(tensors)} bytes are left over behind the tensors.")
    return Inference(request, batch)


def encode(request: InferRequest, batch: Tensors, *, model: str, version: str) -> Body:
    for each in request.outputs:
        _refuse_unsupported(each)
        if each.name not in batch:
            raise _invalid(f"There is no output {each.name!r}.", outputs=sorted(batch))
    wanted = request.outputs or [RequestOutput(name=name) for name in batch]
    binary = bool(request.parameters.get("binary_data_output", False))
    chunks: list[bytes] = []
    outputs = [_encode_output(batch[each.name], each, binary, chunks) for each in wanted]
    response = InferResponse(model_name=model, model_version=version, id=request.id, outputs=outputs)
    header = json.dumps(response.model_dump(mode="json", exclude_none=True)).encode()
    return Body(b"".join([header, *chunks]), len(header) if chunks else None)


def _parse(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(text)
    except ValidationError as error:
        raise _invalid("The JSON is not an inference request.", errors=invalid_fields(error)) from error


def _refuse_unsupported(tensor: RequestInput | RequestOutput) -> None:
    for name in UNSUPPORTED:
        if name in tensor.parameters:
            raise _invalid(f"The tensor {tensor.name!r} asks for {name}, which is not supported.")


def _decode_input(declared: RequestInput, tensors: memoryview) -> tuple[NDArray[Any], memoryview]:
    if BINARY_SIZE not in declared.parameters:
        return _from_json(declared), tensors
    size_bytes = declared.parameters[BINARY_SIZE]
    if declared.data is not None:
        raise _invalid(f"The input {declared.name!r} has data in the JSON and behind it.")
    if not isinstance(size_bytes, int) or not 0 <= size_bytes <= len(tensors):
        raise _invalid(f"The input {declared.name!r} declares more bytes than there are.")
    return _from_bytes(declared, tensors[:size_bytes]), tensors[size_bytes:]


def _from_bytes(declared: RequestInput, data: memoryview) -> NDArray[Any]:
    dtype = np.dtype(DTYPES[declared.datatype])
    expected_bytes = math.prod(declared.shape) * dtype.itemsize
    if len(data) != expected_bytes:
        detail = f"The input {declared.name!r} has {len(data)} bytes, its shape and type make {expected_bytes}."
        raise _invalid(detail)
    return np.frombuffer(data, dtype).reshape(declared.shape)


def _from_json(declared: RequestInput) -> NDArray[Any]:
    if declared.data is None:
        raise _invalid(f"The input {declared.name!r} has no data.")
    try:
        values = np.array(declared.data, DTYPES[declared.datatype])
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(f"The data of the input {declared.name!r} is not {declared.datatype}.") from error
    if values.size != math.prod(declared.shape):
        detail = f"The input {declared.name!r} has {values.size} values, its shape makes {math.prod(declared.shape)}."
        raise _invalid(detail)
    return values.reshape(declared.shape)


def _encode_output(values: NDArray[Any], wanted: RequestOutput, binary: bool, chunks: list[bytes]) -> ResponseOutput:
    data_type = DATA_TYPES[values.dtype.name]
    if not wanted.parameters.get("binary_data", binary):
        data = values.ravel().tolist()
        return ResponseOutput(name=wanted.name, shape=list(values.shape), datatype=data_type, data=data)
    chunks.append(values.tobytes())
    parameters = {BINARY_SIZE: len(chunks[-1])}
    return ResponseOutput(name=wanted.name, shape=list(values.shape), datatype=data_type, parameters=parameters)


def split(batch: Tensors, *, max_samples: int) -> list[Tensors]:
    """The samples of a batch; every tensor leads with the same batch dimension."""
    counts = {values.shape[0] for values in batch.values()}
    if len(counts) != 1:
        raise _invalid("The inputs differ in their batch dimension.")
    count = counts.pop()
    if count > max_samples:
        raise _invalid(f"At most {max_samples} samples fit in one request.", limit=max_samples)
    return [{name: values[index] for name, values in batch.items()} for index in range(count)]


def join(samples: Sequence[Tensors]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _invalid(detail: str, **facts: Any) -> Problem:
    return Problem(Code.INVALID_REQUEST, detail, **facts)
