"""The canonical tensors of a model, independent of its weights file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem

Tensors = Mapping[str, NDArray[Any]]
"""Named tensors of one sample, without the batch dimension."""

Shape = tuple[int | str, ...]
"""Sizes without the batch dimension; a name stands for a size that may vary, such as ("h", "w", 3)."""

BucketKey = tuple[tuple[int, ...], ...]
"""The shapes of a sample's inputs in the order of the signature: samples of one key can share a batch."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One canonical tensor; `low` and `high` are the values of black and white."""

    name: str
    dtype: str
    shape: Shape
    low: float = 0.0
    high: float = 1.0

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sizes[size] if isinstance(size, str) else size for size in self.shape)


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """Inputs, outputs and the few sizes of samples; each bucket names a size for every name in the shapes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    buckets: tuple[Mapping[str, int], ...]

    def with_buckets(self, *buckets: Mapping[str, int]) -> "ModelSignature":
        return replace(self, buckets=buckets)

    def nearest_bucket(self, *, width: int, height: int) -> Mapping[str, int]:
        """The bucket whose proportions `w`:`h` are closest to those of a picture of that size."""
        return min(self.buckets, key=lambda each: abs(log(each["w"] * height / (each["h"] * width))))

    def key(self, bucket: Mapping[str, int]) -> BucketKey:
        return tuple(spec.sized(bucket) for spec in self.inputs)

    @property
    def keys(self) -> tuple[BucketKey, ...]:
        return tuple(self.key(bucket) for bucket in self.buckets)

    def output_shapes(self, key: BucketKey) -> tuple[tuple[int, ...], ...]:
        bucket = self.buckets[self.keys.index(key)]
        return tuple(spec.sized(bucket) for spec in self.outputs)

    def blank(self, key: BucketKey, *, batch: int) -> dict[str, NDArray[Any]]:
        """Returns a batch of zeros, to warm a bucket with."""
        return {spec.name: np.zeros((batch, *shape), spec.dtype) for spec, shape in zip(self.inputs, key, strict=True)}

    def key_of(self, sample: Tensors) -> BucketKey:
        """Returns the bucket of a sample. Raises Problem INVALID_REQUEST for one that fits none."""
        self._check_names(sample)
        for spec in self.inputs:
            if sample[spec.name].dtype != np.dtype(spec.dtype):
                raise _misfit(spec, f"has the type {sample[spec.name].dtype}, not {spec.dtype}")
        key = tuple(sample[spec.name].shape for spec in self.inputs)
        if key not in self.keys:
            raise self._wrong_shapes(key)
        return key

    def _check_names(self, sample: Tensors) -> None:
        wanted = {spec.name for spec in self.inputs}
        if unknown := sorted(set(sample) - wanted):
            raise Problem(
                Code.INVALID_REQUEST,
                f"There is no input {unknown[0]!r}; `inputs` lists the model's inputs.",
                inputs=sorted(wanted),
            )
        if missing := sorted(wanted - set(sample)):
            raise Problem(
                Code.INVALID_REQUEST,
                f"The input {missing[0]!r} is missing; send every input that `inputs` lists.",
                inputs=sorted(wanted),
            )

    def _wrong_shapes(self, key: BucketKey) -> Problem:
        shapes = _named_shapes(self, key)
        accepted = [_named_shapes(self, each) for each in self.keys]
        return Problem(
            Code.INVALID_REQUEST,
            "The shapes match no size of this model; send one of those that `accepted` lists.",
            shapes=shapes,
            accepted=accepted,
        )


def _named_shapes(signature: ModelSignature, key: BucketKey) -> dict[str, list[int]]:
    return {spec.name: list(shape) for spec, shape in zip(signature.inputs, key, strict=True)}


def _misfit(spec: TensorSpec, fault: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, f"The input {spec.name!r} {fault}.")
