"""Conversion between the canonical tensors of a model and the tensors of its weights file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.inference.contract import Contract, ContractError, Layout, TensorContract
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec

CHANNELS_FIRST = (0, 3, 1, 2)
CHANNELS_LAST = (0, 2, 3, 1)


class GraphTensor(Protocol):
    """A tensor of the graph, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


@dataclass(frozen=True, slots=True)
class TensorAdapter:
    """The conversion of one canonical tensor to its counterpart in the file; both have a leading batch dimension."""

    spec: TensorSpec
    declared: TensorContract

    def to_file(self, values: NDArray[Any]) -> NDArray[Any]:
        low, high = self._file_range
        values = _map_range(values, (self.spec.low, self.spec.high), (low, high))
        values = _cast(values, self.declared.dtype)
        return np.ascontiguousarray(values.transpose(CHANNELS_FIRST) if self._swaps_axes else values)

    def from_file(self, values: NDArray[Any]) -> NDArray[Any]:
        values = values.transpose(CHANNELS_LAST) if self._swaps_axes else values
        values = _map_range(values, self._file_range, (self.spec.low, self.spec.high))
        return np.ascontiguousarray(_cast(values, self.spec.dtype))

    def file_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns a sample's canonical shape in the axis order of the file."""
        return (shape[2], shape[0], shape[1]) if self._swaps_axes else shape

    def check(self, graph: Mapping[str, GraphTensor], samples: Sequence[tuple[int, ...]], batch: int | None) -> None:
        """Raises ContractError where the graph's tensor is not as declared, for samples of these canonical shapes."""
        name = self.declared.tensor
        if name not in graph:
            raise ContractError(f"tensor {name!r} ({self.spec.name}) is not in the graph, which has {sorted(graph)}")
        if (found := graph_dtype(graph[name])) != self.declared.dtype:
            raise ContractError(f"tensor {name!r}: declared {self.declared.dtype}, the graph has {found}")
        if self.declared.layout is not None and len(self.spec.shape) != 3:
            raise ContractError(f"tensor {name!r}: only pictures have a layout, {self.spec.name} is not one")
        for sample in samples:
            _check_shape(graph[name], (batch, *self.file_shape(sample)))

    @property
    def _swaps_axes(self) -> bool:
        return self.declared.layout is Layout.NCHW

    @property
    def _file_range(self) -> tuple[float, float]:
        return self.declared.range or (self.spec.low, self.spec.high)


@dataclass(frozen=True, slots=True)
class Adapter:
    """The conversion of all tensors of a model."""

    inputs: tuple[TensorAdapter, ...]
    outputs: tuple[TensorAdapter, ...]

    @classmethod
    def between(cls, signature: ModelSignature, contract: Contract) -> "Adapter":
        return cls(
            tuple(TensorAdapter(spec, contract.inputs[spec.name]) for spec in signature.inputs),
            tuple(TensorAdapter(spec, contract.outputs[spec.name]) for spec in signature.outputs),
        )

    def to_file(self, batch: Tensors) -> dict[str, NDArray[Any]]:
        return {each.declared.tensor: each.to_file(batch[each.spec.name]) for each in self.inputs}

    def from_file(self, batch: Tensors) -> dict[str, NDArray[Any]]:
        return {each.spec.name: each.from_file(batch[each.declared.tensor]) for each in self.outputs}

    def check(
        self,
        signature: ModelSignature,
        contract: Contract,
        graph_inputs: Sequence[GraphTensor],
        graph_outputs: Sequence[GraphTensor],
    ) -> None:
        """Raises ContractError where the graph is not what its contract declares."""
        inputs = {tensor.name: tensor for tensor in graph_inputs}
        if undeclared := sorted(set(inputs) - {each.declared.tensor for each in self.inputs}):
            raise ContractError(f"the graph has an input {undeclared[0]!r} that the contract does not declare")
        outputs = {tensor.name: tensor for tensor in graph_outputs}
        for sides, graph in ((self.inputs, inputs), (self.outputs, outputs)):
            for each in sides:
                samples = [each.spec.sized(bucket) for bucket in signature.buckets]
                each.check(graph, samples, contract.fixed_batch)


def _check_shape(tensor: GraphTensor, expected: tuple[int | None, ...]) -> None:
    if len(tensor.shape) != len(expected):
        raise ContractError(f"tensor {tensor.name!r}: declared {len(expected)} axes, the graph has {len(tensor.shape)}")
    for axis, (found, wanted) in enumerate(zip(tensor.shape, expected, strict=True)):
        if isinstance(found, int) and found != wanted:
            wanted_text = "any size" if wanted is None else f"size {wanted}"
            what = "batch (axis 0)" if axis == 0 else f"axis {axis}"
            raise ContractError(f"tensor {tensor.name!r}: {what} declared with {wanted_text}, the graph fixes {found}")


def graph_dtype(tensor: GraphTensor) -> str:
    """Returns NumPy's name for a type of the graph, such as float32 for `tensor(float)`."""
    name = tensor.type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _map_range(values: NDArray[Any], source: tuple[float, float], target: tuple[float, float]) -> NDArray[Any]:
    if source == target:
        return values
    scale = (target[1] - target[0]) / (source[1] - source[0])
    return values.astype(np.float32) * np.float32(scale) + np.float32(target[0] - source[0] * scale)


def _cast(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    wanted = np.dtype(dtype)
    if np.issubdtype(wanted, np.integer) and np.issubdtype(values.dtype, np.floating):
        limits = np.iinfo(wanted)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(wanted, copy=False)
