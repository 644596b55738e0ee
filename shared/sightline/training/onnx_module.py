"""ONNX graphs of convolutional networks as torch modules, to run them where ONNX Runtime has no GPU.

Hand-written for the operators of detectors of the NanoDet family, which needs no further dependency such as onnx2torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Any]
DTYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.INT64: torch.int64}


class OnnxModule(nn.Module):
    """A graph as a module: calling it with the graph's only input returns its outputs.

    Weights are float32 buffers; operands of shapes stay on the CPU, where torch needs them.

    ValueError if the graph has an unknown operator, or a cast to an unknown type.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        needed = _needed(graph)
        if unknown := {node.op_type for node in needed} - OPERATORS.keys():
            raise ValueError(f"unsupported operators: {', '.join(sorted(unknown))}")
        self.nodes = [
            (node, {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}) for node in needed
        ]
        casts = {attributes["to"] for node, attributes in self.nodes if node.op_type == "Cast"}
        if strange := casts - DTYPES.keys():
            names = ", ".join(sorted(map(onnx.TensorProto.DataType.Name, strange)))
            raise ValueError(f"unsupported casts to {names}")
        self.input, self.outputs = graph.input[0].name, [each.name for each in graph.output]
        scales = {node.input[2] for node in needed if node.op_type == "Resize"}
        self.shapes: dict[str, Tensor] = {}
        self.buffer_names: dict[str, str] = {}
        for at, each in enumerate(graph.initializer):
            array = torch.from_numpy(numpy_helper.to_array(each).copy())
            if array.is_floating_point() and each.name not in scales:
                self.buffer_names[each.name] = f"weight_{at}"
                self.register_buffer(f"weight_{at}", array.float())
            else:
                self.shapes[each.name] = array

    def forward(self, given: Tensor) -> list[Tensor]:
        values: dict[str, Any] = {name: getattr(self, buffer) for name, buffer in self.buffer_names.items()}
        values |= {**self.shapes, self.input: given, "": None}
        for node, attributes in self.nodes:
            made = OPERATORS[node.op_type]([values[name] for name in node.input], attributes)
            values |= zip(node.output, made if isinstance(made, tuple | list) else [made], strict=True)
        return [values[name] for name in self.outputs]


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that the outputs depend on, in order."""
    wanted = {each.name for each in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _conv(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    image, weight, *bias = inputs
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    assert (top, left) == (bottom, right)
    return F.conv2d(
        image,
        weight,
        bias[0] if bias else None,
        attributes.get("strides", (1, 1)),
        (top, left),
        attributes.get("dilations", (1, 1)),
        attributes.get("group", 1),
    )


def _max_pool(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    return F.max_pool2d(
        inputs[0], attributes["kernel_shape"], attributes.get("strides"), attributes.get("pads", (0, 0))[:2]
    )


def _slice(inputs: Sequence[Any], _: Attributes) -> Tensor:
    starts, ends, axes, *steps = inputs[1:]
    data: Tensor = inputs[0]
    assert not steps or steps[0] is None or (steps[0] == 1).all()
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        length = data.shape[axis]
        first, last = (min(at + length if at < 0 else at, length) for at in (start, end))
        data = data.narrow(axis, first, last - first)
    return data


def _reshape(inputs: Sequence[Any], _: Attributes) -> Tensor:
    data: Tensor = inputs[0]
    shape: Tensor = inputs[1]
    return data.reshape([data.shape[at] if side == 0 else side for at, side in enumerate(shape.tolist())])


def _resize(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    assert attributes["coordinate_transformation_mode"] == b"half_pixel"
    assert attributes["mode"] == b"linear"
    data, _, scales = inputs
    down, right = scales.tolist()[2:]
    return F.interpolate(data, scale_factor=(down, right), mode="bilinear", align_corners=False)


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Cast": lambda inputs, attributes: inputs[0].to(DTYPES[attributes["to"]]),
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Conv": _conv,
    "Identity": lambda inputs, _: inputs[0],
    "LeakyRelu": lambda inputs, attributes: F.leaky_relu(inputs[0], attributes.get("alpha", 0.01)),
    "MaxPool": _max_pool,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda inputs, attributes: torch.tensor(
        inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
    ),
    "Sigmoid": lambda inputs, _: inputs[0].sigmoid(),
    "Slice": _slice,
    "Split": lambda inputs, attributes: inputs[0].split(inputs[1].tolist(), attributes.get("axis", 0)),
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
}
