"""A gate for pictures that are not scenes (surfaces, documents, charts, logos), added to an exported screening file.

The gate is one more linear output on the pooled features. Its softplus raises the logit of `no_violation`, so that a
picture of a bare surface does not take the class whose training pictures it resembles. On scenes the softplus is close
to zero, so the nine trained classes keep their logits. That is why it can be added without the pictures that they were
trained on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from sightline.api.screening import CATEGORIES, Category
from sightline.training.hra_screening.examples import INDEX, Example
from sightline.training.hra_screening.heads import ITERATIONS, MIN_DEVIATION, Logits
from sightline.training.hra_screening.splits import balanced_weights
from sightline.training.hra_screening.views import FIXED_VIEWS, Views
from sightline.training.photos import list_photos, read_rgb

PENALTY, NON_SCENE_SHARE = 0.005, 0.1
"""Penalty on the gate's weights, and the share of non-scenes in its loss; chosen by cross-validation over sources."""
CLASS_BALANCE, SOURCE_BALANCE = 0.7, 0.5
LOGITS, UNGATED = "logits", "logits_ungated"
POOLED = "mean"
"""Tensor of the features (2 b, channels) of upright and mirrored pictures in files of this project."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Score = features @ weight + bias, positive for pictures that are not scenes; weight (channels,)."""

    weight: NDArray[np.float32]
    bias: float

    def __call__(self, features: NDArray[np.floating], logits: Logits) -> Logits:
        """Gated logits (examples, 9) of features (examples, views, channels) and ungated, calibrated logits."""
        scores = features.astype(np.float32) @ self.weight + self.bias
        gated = logits.copy()
        gated[:, INDEX[Category.NO_VIOLATION]] += np.logaddexp(0, scores).mean(1)
        return gated


def fit_gate(
    features: NDArray[np.floating],
    logits: Logits,
    scene: NDArray[np.bool_],
    weights: NDArray[np.float32],
    *,
    penalty: float,
) -> Gate:
    """Fits a gate that raises `no_violation` until the pictures that are not scenes have it, and scenes as little as
    possible.

    The label of a scene is not used: raising scenes without violations would teach the gate to find these, which is the
    task of the trained classes and made them worse.

    features: (examples, views, channels); logits: (examples, 9), calibrated and fixed; scene: (examples,); weights: of
    the examples, 1 on average. `penalty` is on the squared weights of centred features.
    """
    views = torch.from_numpy(features.astype(np.float32))
    mean, scale = views.mean((0, 1)), max(float(views.std((0, 1)).mean()), MIN_DEVIATION)
    weight, bias = _solve(
        (views - mean) / scale,
        torch.from_numpy(logits.astype(np.float32)),
        torch.from_numpy(scene),
        torch.from_numpy(weights),
        penalty,
    )
    weight = weight / scale
    return Gate(weight.numpy(), float(bias - weight @ mean))


def _solve(views: Tensor, logits: Tensor, scene: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    weight, bias = torch.zeros(views.shape[2], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    index = torch.tensor(INDEX[Category.NO_VIOLATION])
    chosen, others = F.one_hot(index, len(CATEGORIES)).float(), index.expand(len(scene))

    def loss() -> Tensor:
        optimizer.zero_grad()
        raised = F.softplus(views @ weight + bias).mean(1, keepdim=True)
        each = F.cross_entropy(logits + raised * chosen, others, reduction="none")
        total = (weights * torch.where(scene, raised[:, 0], each)).mean() + penalty * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()[0]


def add_gate(model: onnx.ModelProto, gate: Gate) -> None:
    """Adds the gate to an exported file, behind the logits; `activation` and `embedding` stay as they are.

    ValueError if the graph has no pooled features of this name or already has a gate.
    """
    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    if UNGATED in made or POOLED not in made:
        raise ValueError(f"the file needs the tensor {POOLED!r} and no gate; export it again")
    for node in graph.node:
        node.output[:] = [UNGATED if name == LOGITS else name for name in node.output]
    place = np.eye(len(CATEGORIES), dtype=np.float32)[INDEX[Category.NO_VIOLATION]]
    constants = {
        "gate.weight": gate.weight[:, None].astype(np.float32),
        "gate.bias": np.array([gate.bias], np.float32),
        # Upright pictures come first in the batch, then their mirror images.
        "gate.shape": np.array([2, -1, 1], np.int64),
        "gate.axis": np.array([0], np.int64),
        "gate.place": place[None],
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("Gemm", [POOLED, "gate.weight", "gate.bias"], ["gate.scores"]),
            helper.make_node("Softplus", ["gate.scores"], ["gate.each"]),
            helper.make_node("Reshape", ["gate.each", "gate.shape"], ["gate.pairs"]),
            helper.make_node("ReduceMean", ["gate.pairs", "gate.axis"], ["gate.raise"], keepdims=0),
            helper.make_node("Mul", ["gate.raise", "gate.place"], ["gate.raises"]),
            helper.make_node("Add", [UNGATED, "gate.raises"], [LOGITS]),
        ]
    )
    onnx.checker.check_model(model)


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of an exported file for the fixed views of pictures: features (examples, views, channels) and the mean
    logits (examples, 9)."""

    features: NDArray[np.float32]
    logits: Logits


def run_file(model: onnx.ModelProto, paths: Sequence[Path], px: int) -> Outputs:
    """Runs the file on pictures; the views of each are means over the view and its mirror image, as in the file."""
    with_features = onnx.ModelProto()
    with_features.CopyFrom(model)
    with_features.graph.output.append(helper.make_tensor_value_info(POOLED, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(with_features.SerializeToString(), providers=["CPUExecutionProvider"])
    views, features, logits = Views(px, FIXED_VIEWS), [], []
    for path in paths:
        each, pooled = session.run([LOGITS, POOLED], {"image": views(read_rgb(path), seed=0)[::2]})
        features.append(np.asarray(pooled, np.float32).reshape(2, len(each), -1).mean(0))
        logits.append(np.asarray(each, np.float32).mean(0))
    return Outputs(np.stack(features), np.stack(logits))


def gate_for(
    model: onnx.ModelProto, scenes: Sequence[Example], non_scenes: Path, px: int, *, penalty: float = PENALTY
) -> Gate:
    """The gate for an exported file, from labelled scenes and a folder with one sub-folder for each kind of non-scene.

    ValueError if the folder has no pictures.
    """
    others = list_photos(non_scenes)
    if not others:
        raise ValueError(f"no pictures in {non_scenes}; make a folder for each kind, such as documents and surfaces")
    outputs = run_file(model, [*(example.path for example in scenes), *others], px)
    of_scenes = balanced_weights(scenes, classes=CLASS_BALANCE, sources=SOURCE_BALANCE)
    sizes = Counter(path.parent for path in others)
    of_others = np.array([1 / sizes[path.parent] for path in others])
    weights = np.concatenate(
        [of_scenes / of_scenes.sum() * (1 - NON_SCENE_SHARE), of_others / of_others.sum() * NON_SCENE_SHARE]
    )
    return fit_gate(
        outputs.features,
        outputs.logits,
        np.arange(len(weights)) < len(scenes),
        np.asarray(weights / weights.mean(), np.float32),
        penalty=penalty,
    )
