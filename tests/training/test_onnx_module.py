import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sightline.training.onnx_module import OnnxModule


def model_of(
    nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.generic]], outputs: list[str]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def shuffling() -> onnx.ModelProto:
    """Channels shuffled in two groups, halved, pooled and brought back to size, as in ShuffleNet and its pyramid; and a
    node that no output needs."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["half"], ["kernel"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["image", "kernel", "bias"], ["wide"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["wide"], ["active"], alpha=0.1),
        helper.make_node("Shape", ["active"], ["whole"]),
        helper.make_node("Shape", ["active"], ["sides"], start=2),
        helper.make_node("Concat", ["keep", "groups", "sides"], ["grouped"], axis=0),
        helper.make_node("Reshape", ["active", "grouped"], ["in_groups"]),
        helper.make_node("Transpose", ["in_groups"], ["turned"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["turned", "whole"], ["shuffled"]),
        helper.make_node("Slice", ["shuffled", "zero", "four", "one"], ["first"]),
        helper.make_node("Conv", ["first", "depthwise"], ["filtered"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["filtered"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node(
            "Resize",
            ["pooled", "", "twice"],
            ["large"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Identity", ["filtered"], ["same"]),
        helper.make_node("Add", ["large", "same"], ["both"]),
        helper.make_node("Split", ["both", "parts"], ["scores", "places"], axis=1),
        helper.make_node("Sigmoid", ["scores"], ["likely"]),
        helper.make_node("Erf", ["places"], ["unneeded"]),
    ]
    weights: dict[str, NDArray[np.generic]] = {
        "half": rng.normal(size=(8, 3, 3, 3)).astype(np.float16),
        "bias": rng.normal(size=8).astype(np.float32),
        "depthwise": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "keep": np.array([0, 2]),
        "groups": np.array([-1]),
        "zero": np.array([0]),
        "four": np.array([-4]),
        "one": np.array([1]),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "parts": np.array([1, 3]),
    }
    return model_of(nodes, weights, ["likely", "places"])


@pytest.mark.parametrize("size", [(32, 48), (64, 32)])
def test_torch_module_agrees_with_onnx_runtime(size: tuple[int, int]) -> None:
    model = shuffling()
    image = np.random.default_rng(1).normal(size=(2, 3, *size)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    given = OnnxModule(model)(torch.from_numpy(image))

    for one, two in zip(given, session.run(None, {"image": image}), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_unknown_operator_is_named_in_the_error() -> None:
    model = model_of([helper.make_node("Erf", ["image"], ["out"])], {}, ["out"])

    with pytest.raises(ValueError, match="Erf"):
        OnnxModule(model)


def test_unknown_type_is_named_in_the_error() -> None:
    model = model_of([helper.make_node("Cast", ["image"], ["out"], to=TensorProto.BFLOAT16)], {}, ["out"])

    with pytest.raises(ValueError, match="BFLOAT16"):
        OnnxModule(model)
