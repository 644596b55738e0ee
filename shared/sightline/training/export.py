"""ONNX files as the services load them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Feeds = Mapping[str, NDArray[Any]]
HALVED = ".fp16"
SMALLEST_HALVED = 1024  # elements; smaller tensors are not worth their Cast node


def halve_weights(model: onnx.ModelProto) -> None:
    """Store large fp32 weights as fp16, each behind a Cast: half the file, still computed in fp32.

    ONNX Runtime folds the casts when it loads the file.
    """
    casts = []
    for weights in list(model.graph.initializer):
        values = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or values.size < SMALLEST_HALVED:
            continue
        stored = f"{weights.name}{HALVED}"
        model.graph.initializer.remove(weights)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [weights.name], to=TensorProto.FLOAT))
    for cast in casts:
        model.graph.node.insert(0, cast)


def read_state(path: Path, prefix: str) -> dict[str, NDArray[Any]]:
    """The weights of an exported file by the names that torch knows them by, in full precision."""
    weights = onnx.load(path).graph.initializer
    return {
        tensor.name.removeprefix(prefix).removesuffix(HALVED): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in weights
        if tensor.name.startswith(prefix)
    }


def largest_difference(path: Path, feeds: Iterable[Feeds], expected: Iterable[NDArray[Any]]) -> float:
    """Largest absolute difference between the first output of the file on CPU and what is expected."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences = [
        float(np.abs(np.asarray(session.run(None, dict(feed))[0]) - want).max())
        for feed, want in zip(feeds, expected, strict=True)
    ]
    return max(differences)
