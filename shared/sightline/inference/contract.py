"""The declared contract of an ONNX file: how its tensors relate to the canonical ones of a model.

A contract is a TOML file beside the weights:

    name = "lama"
    version = "2021.1"
    fixed_size = [512, 512]        # height, width; or: multiple_of = 128
    fixed_batch = 1                # left out: any batch

    [inputs.image]                 # the canonical name; `tensor` is the file's
    tensor = "image"
    dtype = "float32"
    layout = "nchw"
    range = [0.0, 1.0]             # the values of black and white

    [inputs.mask]
    tensor = "mask"
    dtype = "float32"
    layout = "nchw"
    range = [0.0, 1.0]             # the values of a known pixel and a hole; [1.0, 0.0] for a validity mask

    [outputs.filled]
    tensor = "output"
    dtype = "float32"
    layout = "nchw"
    range = [0.0, 255.0]

    [sizes]                        # axes that the model leaves to its weights, by the names it gives them
    channels = 512

    [parts]                        # further files of a model that has several, beside the first
    heads = "heads.onnx"

    [sha256]                       # of each file by its name; files that differ are refused
    "lama.onnx" = "1faa...6c7f"    # 64 hexadecimal digits

    [facts]                        # further facts of the weights that the model reads, such as a threshold
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sightline.inference.signature import ModelSignature, TensorSpec

PICTURE_SIDES = frozenset(("h", "w"))
SchemaT = TypeVar("SchemaT", bound=BaseModel)


class ContractError(Exception):
    """The weights do not match their contract or the model."""


class Layout(StrEnum):
    NHWC = "nhwc"
    NCHW = "nchw"


class DType(StrEnum):
    UINT8 = "uint8"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


Positive = Annotated[int, Field(gt=0)]
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorContract(_Declared):
    """One tensor of the file; without a layout or a range, its axes or values are the canonical ones."""

    tensor: str
    dtype: DType
    layout: Layout | None = None
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _range_is_open(self) -> "TensorContract":
        if self.range is not None and self.range[0] == self.range[1]:
            raise ValueError("the two ends of a range must differ")
        return self


class Contract(_Declared):
    """The declaration of an ONNX file."""

    name: str
    version: str
    precision: str = "fp32"
    inputs: Mapping[str, TensorContract]
    outputs: Mapping[str, TensorContract]
    fixed_size: tuple[Positive, Positive] | None = None
    multiple_of: Positive = 1
    fixed_batch: Positive | None = None
    sizes: Mapping[str, Positive] = Field(default_factory=dict)
    parts: Mapping[str, FileName] = Field(default_factory=dict)
    sha256: Mapping[str, Digest] = Field(default_factory=dict)
    facts: Mapping[str, Any] = Field(default_factory=dict)

    def adapt(self, signature: ModelSignature) -> ModelSignature:
        """Returns the signature with the buckets that these weights accept: their own one if their size is fixed."""
        self._check_names(signature)
        signature = self._with_own_sizes(signature)
        if self.fixed_size is not None:
            height, width = self.fixed_size
            return signature.with_buckets({**signature.buckets[0], "h": height, "w": width})
        for bucket in signature.buckets:
            if any(size % self.multiple_of for name, size in bucket.items() if name in PICTURE_SIDES):
                raise ContractError(
                    f"{self.name}: sizes must be multiples of {self.multiple_of}, {dict(bucket)} is not"
                )
        return signature

    def read_facts(self, model: type[SchemaT]) -> SchemaT:
        """Returns the contract's facts. Raises ContractError where they do not match the model's schema."""
        try:
            return model.model_validate(dict(self.facts))
        except ValidationError as error:
            raise ContractError(f"{self.name}: facts: {_faults(error)}") from error

    def _with_own_sizes(self, signature: ModelSignature) -> ModelSignature:
        known = {name for bucket in signature.buckets for name in bucket} - PICTURE_SIDES
        if unknown := sorted(set(self.sizes) - known):
            raise ContractError(f"{self.name}: there is no size {unknown[0]!r}, only {sorted(known)}")
        return signature.with_buckets(*({**bucket, **self.sizes} for bucket in signature.buckets))

    def _check_names(self, signature: ModelSignature) -> None:
        _check_names(self.name, "inputs", self.inputs, signature.inputs)
        _check_names(self.name, "outputs", self.outputs, signature.outputs)


def _check_names(name: str, side: str, declared: Mapping[str, TensorContract], specs: tuple[TensorSpec, ...]) -> None:
    wanted = {spec.name for spec in specs}
    if set(declared) != wanted:
        raise ContractError(f"{name}: {side} must declare {sorted(wanted)}, found {sorted(declared)}")


def read_contract(path: Path) -> Contract:
    return read_toml(path, Contract)


def read_toml(path: Path, model: type[SchemaT]) -> SchemaT:
    """Returns a contract of the given form. Raises ContractError where the file is missing or does not match it."""
    try:
        return model.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ContractError(f"{path}: the contract cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise ContractError(f"{path}: {_faults(error)}") from error


def _faults(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
