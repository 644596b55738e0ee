"""Bodies of the Open Inference Protocol to and from tensors."""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import invalid_fields
from sightline.inference.signature import Tensors
from sightline.serving.v2.json_tensors import NumberText, json_values, parse_json
from sightline.serving.v2.schemas import (
    DATA_TYPES,
    DTYPES,
    DataType,
    InferRequest,
    Parameters,
    RequestInput,
    RequestOutput,
)

BINARY_SIZE = "binary_data_size"
UNSUPPORTED = ("shared_memory_region", "classification")


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A decoded request: its JSON, and its tensors with their batch dimension."""

    request: InferRequest
    batch: Tensors


@dataclass(frozen=True, slots=True)
class EncodedReply:
    """The body of a reply; `json_bytes` is the length of its JSON, None where no tensors follow it."""

    content: bytes
    json_bytes: int | None


def decode(body: bytes, json_bytes: int | None, max_values: int) -> DecodedRequest:
    """Decodes a body whose first `json_bytes` are JSON and the rest tensors; None: all of it is JSON.

    No model accepts more than `max_values` in one request. Raises Problem INVALID_REQUEST.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise _invalid("The declared length of the JSON header exceeds the body.")
    request = _parse(body[:json_bytes])
    _check_names(request)
    _check_sizes(request, max_values)
    tensors = memoryview(body)[len(body) if json_bytes is None else json_bytes :]
    batch: dict[str, NDArray[Any]] = {}
    for each in request.inputs:
        batch[each.name], tensors = _decode_input(each, tensors)
        each.data = None  # the text is several times as large as the tensor
    if tensors:
        raise _invalid(
            f"{len(tensors)} bytes follow the last tensor; declare them in `binary_data_size`, or leave them out."
        )
    return DecodedRequest(request, batch)


def check_outputs(request: InferRequest, names: Collection[str]) -> None:
    """Raises Problem INVALID_REQUEST where a requested output is not one of the model's."""
    for each in request.outputs:
        if each.name not in names:
            raise _invalid(
                f"There is no output {each.name!r}; `outputs` lists the model's outputs.", outputs=sorted(names)
            )


def encode(request: InferRequest, batch: Tensors, *, model: str, version: str) -> EncodedReply:
    wanted = request.outputs or [RequestOutput(name=name) for name in batch]
    binary = _flag(request.parameters, "binary_data_output", default=False)
    tensors: list[bytes] = []
    outputs = [b"".join(_encode_output(batch[each.name], each, binary, tensors)) for each in wanted]
    facts = {"model_name": model, "model_version": version, **({} if request.id is None else {"id": request.id})}
    header = b'%b, "outputs": [%b]}' % (json.dumps(facts).encode()[:-1], b", ".join(outputs))
    return EncodedReply(b"".join([header, *tensors]), len(header) if tensors else None)


def _parse(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate(parse_json(text))
    except ValidationError as error:
        raise _invalid(
            "The JSON is not an inference request; `errors` lists its faults.", errors=invalid_fields(error)
        ) from error


def _check_names(request: InferRequest) -> None:
    for kind, tensors in (("input", request.inputs), ("output", request.outputs)):
        names: set[str] = set()
        for each in tensors:
            if each.name in names:
                raise _invalid(f"The {kind} {each.name!r} is listed twice; list it once.")
            names.add(each.name)
            _refuse_unsupported(each)
    for parameters in (request.parameters, *(each.parameters for each in request.outputs)):
        for name in ("binary_data_output", "binary_data"):
            _flag(parameters, name, default=False)


def _check_sizes(request: InferRequest, max_values: int) -> None:
    values = sum(math.prod(each.shape) for each in request.inputs)
    if values > max_values:
        detail = f"The inputs have {values} values by their shapes; the largest request to this model has {max_values}."
        raise _invalid(detail, limit=max_values)


def _refuse_unsupported(tensor: RequestInput | RequestOutput) -> None:
    for name in UNSUPPORTED:
        if name in tensor.parameters:
            raise _invalid(f"The tensor {tensor.name!r} has the parameter {name}, which is not supported.")


def _decode_input(declared: RequestInput, tensors: memoryview) -> tuple[NDArray[Any], memoryview]:
    if BINARY_SIZE not in declared.parameters:
        return _from_json(declared), tensors
    size_bytes = declared.parameters[BINARY_SIZE]
    if declared.data is not None:
        raise _invalid(f"The input {declared.name!r} has data both in the JSON and after it; send one of them.")
    if type(size_bytes) is not int or not 0 <= size_bytes <= len(tensors):
        raise _invalid(f"The input {declared.name!r} declares more bytes than the body has.")
    return _from_bytes(declared, tensors[:size_bytes]), tensors[size_bytes:]


def _from_bytes(declared: RequestInput, data: memoryview) -> NDArray[Any]:
    dtype = np.dtype(DTYPES[declared.datatype])
    expected_bytes = math.prod(declared.shape) * dtype.itemsize
    if len(data) != expected_bytes:
        detail = f"The input {declared.name!r} has {len(data)} bytes; its shape and type require {expected_bytes}."
        raise _invalid(detail)
    if declared.datatype is DataType.BOOL and np.frombuffer(data, np.uint8).max() > 1:
        raise _invalid(f"The bytes of the input {declared.name!r} are not {declared.datatype}: each is 0 or 1.")
    return np.frombuffer(data, dtype).reshape(declared.shape)


def _from_json(declared: RequestInput) -> NDArray[Any]:
    if declared.data is None:
        raise _invalid(f"The input {declared.name!r} has no data.")
    if not isinstance(declared.data, NumberText):
        # A text, null, or an object among the values.
        raise _invalid(f"The data of the input {declared.name!r} is not {declared.datatype}.")
    return declared.data.tensor(declared.shape, declared.datatype, name=declared.name).reshape(declared.shape)


def _encode_output(values: NDArray[Any], wanted: RequestOutput, binary: bool, tensors: list[bytes]) -> Iterator[bytes]:
    facts = {"name": wanted.name, "shape": list(values.shape), "datatype": DATA_TYPES[values.dtype.name]}
    if not _flag(wanted.parameters, "binary_data", default=binary):
        yield json.dumps(facts).encode()[:-1] + b', "data": ['
        yield from json_values(values, name=wanted.name)
        yield b"]}"
        return
    tensors.append(values.tobytes())
    yield json.dumps({**facts, "parameters": {BINARY_SIZE: len(tensors[-1])}}).encode()


def _flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise _invalid(f"The parameter {name} must be true or false.")
    return value


def split(batch: Tensors, *, max_samples: int) -> list[Tensors]:
    """Returns the samples of a batch, whose tensors all lead with the same batch dimension."""
    counts = {values.shape[0] for values in batch.values()}
    if len(counts) != 1:
        raise _invalid("The inputs must have the same batch dimension.")
    count = counts.pop()
    if count > max_samples:
        raise _invalid(f"A request may have at most {max_samples} samples; send fewer.", limit=max_samples)
    return [{name: values[index] for name, values in batch.items()} for index in range(count)]


def join(samples: Sequence[Tensors]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _invalid(detail: str, **facts: Any) -> Problem:
    return Problem(Code.INVALID_REQUEST, detail, **facts)
