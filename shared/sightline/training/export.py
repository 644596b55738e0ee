"""Export to ONNX files as the services load them."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

log = logging.getLogger(__name__)

Feeds = Mapping[str, NDArray[Any]]
HALVED, QUANTIZED, SCALE = ".fp16", ".int8", ".scale"
MIN_HALVED_SIZE = 1024  # elements; smaller tensors are not worth their Cast node
MAX_INT8 = 127
UNEXPORTED = "num_batches_tracked"
OPSET = 18
CHECKED_SHAPES = ((1, 1, 1), (2, 1, 2), (1, 2, 2))


@dataclass(frozen=True, slots=True)
class Graph:
    """A module to export. `sample` makes its inputs (batch, height, width, ...) by name and in order.

    Outputs of ONNX and torch may differ by `tolerance`. Optimising makes some graphs a third faster, but folds batch
    norms into convolutions, so training cannot start from such a file.
    """

    module: nn.Module
    sample: Callable[[int, int, int], Feeds]
    outputs: Sequence[str]
    multiple_of: int
    tolerance: float
    optimize: bool = True


def write_onnx(graph: Graph, path: Path) -> None:
    """Writes the graph with halved weights. ValueError if ONNX Runtime and torch disagree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = to_onnx(graph)
    halve_weights(model)
    forget_origins(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    check(graph, path)


def write_contract(path: Path, text: str, *parts: Path) -> None:
    """Writes the contract beside an ONNX file, with the SHA-256 of the file and of its parts."""
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, *parts)}
    rows = "".join(f'"{name}" = "{digest}"\n' for name, digest in digests.items())
    path.with_suffix(".toml").write_text(f"{text.rstrip()}\n\n[sha256]\n{rows}")


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model with dynamic batch, height and width."""
    # The exporter takes a bottleneck of size 1 for a constant, so both sides are larger than the multiple.
    feeds = graph.sample(2, 3 * graph.multiple_of, 2 * graph.multiple_of)
    shape = {0: Dim("batch"), 1: graph.multiple_of * Dim("high"), 2: graph.multiple_of * Dim("wide")}
    with warnings.catch_warnings():
        # The exporter's warnings concern its internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            tuple(torch.from_numpy(array) for array in feeds.values()),
            dynamo=True,
            opset_version=OPSET,
            optimize=graph.optimize,
            input_names=list(feeds),
            output_names=list(graph.outputs),
            dynamic_shapes=[shape for _ in feeds],
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores large fp32 weights as fp16, each behind a Cast: half the file size, computation still in fp32.

    ONNX Runtime folds the casts when it loads the file.
    """
    casts = []
    for weights in list(model.graph.initializer):
        values = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or values.size < MIN_HALVED_SIZE:
            continue
        stored = f"{weights.name}{HALVED}"
        model.graph.initializer.remove(weights)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [weights.name], to=TensorProto.FLOAT))
    for cast in casts:
        model.graph.node.insert(0, cast)


def quantize_linear(model: onnx.ModelProto) -> None:
    """Stores large weights of fully connected layers as int8 with a scale for each output: a quarter of the file size,
    computation still in fp32.

    ONNX Runtime folds the nodes used here when it loads the file, but not DequantizeLinear.
    """
    linear = {node.input[1] for node in model.graph.node if node.op_type == "Gemm"}
    nodes = []
    for weights in list(model.graph.initializer):
        values = numpy_helper.to_array(weights)
        if weights.name not in linear or values.size < MIN_HALVED_SIZE:
            continue
        whole, scale = quantized(values)
        names = [f"{weights.name}{ending}" for ending in (QUANTIZED, SCALE, ".whole")]
        model.graph.initializer.remove(weights)
        model.graph.initializer.append(numpy_helper.from_array(whole, names[0]))
        model.graph.initializer.append(numpy_helper.from_array(scale, names[1]))
        nodes += [
            helper.make_node("Cast", [names[0]], [names[2]], to=TensorProto.FLOAT),
            helper.make_node("Mul", [names[2], names[1]], [weights.name]),
        ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def quantized(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights (outputs, inputs) as integers, and the scale (outputs, 1) that they are multiplied by."""
    scale = np.abs(weights).max(1, keepdims=True).clip(np.finfo(np.float32).tiny) / MAX_INT8
    return np.rint(weights / scale).astype(np.int8), scale.astype(np.float32)


def forget_origins(model: onnx.ModelProto) -> None:
    """Removes the exporter's stack traces from every node: they enlarge the file and contain local paths."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph, model):
        del part.metadata_props[:]


def check(graph: Graph, path: Path) -> None:
    difference = max(
        difference
        for batch, high, wide in CHECKED_SHAPES
        for difference in differences(
            graph, path, graph.sample(batch, high * graph.multiple_of, wide * graph.multiple_of)
        )
    )
    log.info("largest difference between ONNX and torch: %.2g", difference)
    if difference > graph.tolerance:
        raise ValueError(f"ONNX Runtime and torch differ by {difference:.2g}, more than {graph.tolerance}")


def differences(graph: Graph, path: Path, feeds: Feeds) -> Iterable[float]:
    """Largest absolute difference of each output between the file, on CPU, and the module."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = graph.module(*(torch.from_numpy(array) for array in feeds.values()))
    given = session.run(list(graph.outputs), dict(feeds))
    wanted = [expected] if isinstance(expected, Tensor) else expected
    return [float(np.abs(np.asarray(a) - b.numpy()).max()) for a, b in zip(given, wanted, strict=True)]


def load_exported(network: nn.Module, path: Path, prefix: str = "network.") -> None:
    """Loads the weights of an exported file into the network, to train on. ValueError if the networks differ."""
    constants = dict(network.named_buffers()).keys() - network.state_dict().keys()
    weights = read_state(path, prefix).items()
    state = {name: torch.from_numpy(values) for name, values in weights if name not in constants}
    wanted = {name: part.shape for name, part in network.state_dict().items() if not name.endswith(UNEXPORTED)}
    if {name: part.shape for name, part in state.items()} != wanted:
        raise ValueError(f"{path} contains the weights of another network; use a file of the same backbone and widths")
    network.load_state_dict(state, strict=False)


def read_state(path: Path, prefix: str) -> dict[str, NDArray[Any]]:
    """Weights of an exported file by their names in torch, in full precision."""
    stored = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    scales = {name.removesuffix(QUANTIZED) + SCALE for name in stored if name.endswith(QUANTIZED)}
    state: dict[str, NDArray[Any]] = {}
    for name, values in stored.items():
        if name.startswith(prefix) and name not in scales:
            scale = stored[name.removesuffix(QUANTIZED) + SCALE] if name.endswith(QUANTIZED) else 1
            plain = name.removeprefix(prefix).removesuffix(HALVED).removesuffix(QUANTIZED)
            state[plain] = np.asarray(values * scale, np.float32)
    return state
