"""Messages of the Open Inference Protocol."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

MAX_TENSORS = 64
MAX_AXES = 8
MAX_AXIS_SIZE = 2**31 - 1

# Lengths are limited so that neither what is kept of a request nor the list of its faults grows with it.
Name = Annotated[str, Field(max_length=256)]
Parameters = Annotated[dict[str, Any], Field(max_length=64)]
Axis = Annotated[int, Field(gt=0, le=MAX_AXIS_SIZE, strict=True)]


class DataType(StrEnum):
    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"


DTYPES: Mapping[DataType, str] = {
    DataType.BOOL: "bool",
    DataType.UINT8: "uint8",
    DataType.UINT16: "uint16",
    DataType.UINT32: "uint32",
    DataType.UINT64: "uint64",
    DataType.INT8: "int8",
    DataType.INT16: "int16",
    DataType.INT32: "int32",
    DataType.INT64: "int64",
    DataType.FP16: "float16",
    DataType.FP32: "float32",
    DataType.FP64: "float64",
}
DATA_TYPES: Mapping[str, DataType] = {dtype: data_type for data_type, dtype in DTYPES.items()}


def _as_list(schema: dict[str, Any]) -> None:
    """Documents the field as a list; its values are checked where the tensor's type is known."""
    del schema["default"]
    schema |= {"type": "array", "items": {}}


class RequestInput(BaseModel):
    name: Name
    shape: list[Axis] = Field(min_length=1, max_length=MAX_AXES, examples=[[1, 256, 256, 3]])
    datatype: DataType
    parameters: Parameters = {}
    data: Any = Field(
        default=None,
        description="Numbers or truth values, flat or nested as the shape is, in row-major order",
        json_schema_extra=_as_list,
    )


class RequestOutput(BaseModel):
    name: Name
    parameters: Parameters = {}


class InferRequest(BaseModel):
    id: Annotated[str, Field(max_length=1024)] | None = None
    parameters: Parameters = {}
    inputs: list[RequestInput] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: list[RequestOutput] = Field(default=[], max_length=MAX_TENSORS, description="All, unless some are named")


class ResponseOutput(BaseModel):
    name: str
    shape: list[int]
    datatype: DataType
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    name: str
    datatype: DataType
    shape: list[int] = Field(description="-1 stands for a size that may vary")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerReady(BaseModel):
    ready: bool


class ServerLive(BaseModel):
    live: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class RepositoryEntry(BaseModel):
    name: str
    version: str
    state: str
    reason: str = ""
