"""Exports the trained network as two ONNX files with a contract: the detector with its feature maps, and the
interactions of people and objects on those maps."""

import copy
import json
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from sightline.networks.faster_rcnn import DetectionConfig, detect
from sightline.networks.interactnet import InteractNet, interact
from sightline.networks.layout import LayoutNetwork, encode_layout
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training.export import (
    MIN_HALVED_SIZE,
    OPSET,
    forget_origins,
    halve_weights,
    quantize_linear,
    quantized,
    write_contract,
)
from sightline.training.hoi.annotations import ALLOWED_CLASSES, COCO_CLASSES, SLOTS
from sightline.training.hoi.layout_training import LAYOUT_CHECKPOINT, load_layout
from sightline.training.hoi.model import load_model
from sightline.training.hoi.predictions import INTERACTION_OUTPUTS, LAYOUT_FILE, LAYOUT_INPUTS, LAYOUT_OUTPUTS

DETECTOR_OUTPUTS = ("boxes", "scores", "labels", "p3", "p4", "p5")
TOLERANCE = 1e-2  # pixels of boxes, and of logits and features that span some 10
SIDES = ((96, 128), (256, 320), (320, 224))
COUNTS = ((2, 3), (0, 3), (2, 0), (0, 0), (1, 1), (12, 90))
"""Numbers of people and objects that the export is checked with."""

CONTRACT_OUTPUTS = {
    "boxes": "float32",
    "scores": "float32",
    "labels": "int64",
    "actions": "float32",
    "targets": "float32",
    "person_logits": "float32",
    "object_logits": "float32",
}

MIN_INTERACTION_SCORE, MIN_BOX_SCORE = 0.12, 0.45
"""The service's default thresholds of triplets and boxes. Lower ones crowd the overlay."""

CONTRACT = """\
# Inputs and outputs of the graphs; docs/weights.md explains each entry.
name = "interactnet"
version = "{version}"
precision = "fp32"
multiple_of = 32

[parts]
interactions = "interactions.onnx"
{layout_part}
[inputs.image]
tensor = "image"
dtype = "float32"
layout = "nchw"
range = [0.0, 255.0]

{outputs}

[facts]
longest_side_px = {longest_side_px}
classes = {classes}
slots = {slots}
sigma = {sigma}
action_score = "{action_score}"
layout_weight = {layout_weight}

[facts.thresholds]
detection = {detection}
empty_role = {empty_role}
interaction = {interaction}
shown = {shown}

# Object classes that V-COCO allows in a role; roles that are not listed take any class.
[facts.allowed]
{allowed}
"""


class ExportedDetector(nn.Module):
    """image (1, 3, h, w) RGB of 0..255, sides multiples of 32, to boxes (n, 4) in its pixels, scores (n,), labels (n,)
    and the pyramid's three levels."""

    def __init__(self, network: InteractNet, detection_config: DetectionConfig) -> None:
        super().__init__()
        self.detector, self.detection_config = network.detector, detection_config

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        levels = self.detector.levels(image / 255)
        detections = detect(self.detector, levels, (image.shape[2], image.shape[3]), self.detection_config)
        return detections.boxes, detections.scores, detections.labels, *levels


class ExportedInteractions(nn.Module):
    """The levels, people (p, 4), objects (o, 4) and object_scores (o, classes) to the outputs of both branches."""

    def __init__(self, network: InteractNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, p3: Tensor, p4: Tensor, p5: Tensor, people: Tensor, objects: Tensor, object_scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        outputs = interact(self.network, (p3, p4, p5), people, objects, object_scores)
        return outputs.actions, outputs.targets, outputs.person_logits, outputs.object_logits


class ExportedLayout(nn.Module):
    """people (p, 4), objects (o, 4), labels (o,), scores (o,) and the picture's size (2,), its width and height, to
    action_logits (p, slots) and pair_logits (p, o, slots)."""

    def __init__(self, network: LayoutNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, people: Tensor, objects: Tensor, labels: Tensor, scores: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        actions, pairs = self.network(encode_layout(people, objects, labels, scores, size))
        return actions, pairs


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes detector.onnx, interactions.onnx and detector.toml into the folder and returns the path of the first.

    layout.onnx is written too if the layout network's checkpoint lies beside the other. ValueError if ONNX Runtime and
    PyTorch disagree.
    """
    model, detection_config = load_model(checkpoint), DetectionConfig()
    export_graphs(model.network, folder, detection_config)
    layout = checkpoint.with_name(LAYOUT_CHECKPOINT)
    if layout.exists():
        export_layout(load_layout(layout), folder / LAYOUT_FILE)
    else:
        (folder / LAYOUT_FILE).unlink(missing_ok=True)
    _write_contract(folder, model.composition, model.network.config.detector.image_px, version)
    return folder / "detector.onnx"


def replace_layout(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes layout.onnx of a layout network's checkpoint and renews the contract of the exported graphs beside it."""
    facts = read_facts(folder / "detector.onnx")
    export_layout(load_layout(checkpoint), folder / LAYOUT_FILE)
    _write_contract(folder, composition_from(facts), facts["longest_side_px"], version)
    return folder / LAYOUT_FILE


def _write_contract(folder: Path, composition: Composition, longest_side_px: int, version: str) -> None:
    layout = folder / LAYOUT_FILE
    parts = [folder / "interactions.onnx", *([layout] if layout.exists() else [])]
    contract = contract_of(composition, DetectionConfig(), longest_side_px, version, has_layout=layout.exists())
    write_contract(folder / "detector.onnx", contract, *parts)


def export_graphs(network: InteractNet, folder: Path, detection_config: DetectionConfig) -> None:
    """Writes detector.onnx and interactions.onnx. ValueError if ONNX Runtime and PyTorch disagree."""
    # Rounded first: half a rounding error may decide which of two boxes suppression keeps.
    network = rounded(network)
    folder.mkdir(parents=True, exist_ok=True)
    high, wide = Dim("high", min=2), Dim("wide", min=2)
    detector = ExportedDetector(network, detection_config).eval()
    shapes: list[Any] = [{2: 32 * high, 3: 32 * wide}]
    save(detector, (torch.rand(1, 3, 96, 128) * 255,), shapes, ["image"], DETECTOR_OUTPUTS, folder / "detector.onnx")
    feeds = interaction_feeds(network, 96, 128, people=2, objects=3)
    shapes = [{2: factor * high, 3: factor * wide} for factor in (4, 2, 1)]
    people, objects = Dim("people", min=0), Dim("objects", min=0)
    shapes += [{0: people}, {0: objects}, {0: objects}]
    interactions = ExportedInteractions(network).eval()
    path = folder / "interactions.onnx"
    save(interactions, tuple(feeds.values()), shapes, list(feeds), INTERACTION_OUTPUTS, path)
    check(network, detector, interactions, folder)


def export_layout(network: LayoutNetwork, path: Path) -> None:
    """Writes layout.onnx. ValueError if ONNX Runtime and PyTorch disagree."""
    layout = ExportedLayout(network).eval()
    people, objects = Dim("people", min=1), Dim("objects", min=1)
    shapes: list[Any] = [{0: people}, {0: objects}, {0: objects}, {0: objects}, {}]
    feeds = layout_feeds(network, people=2, objects=3)
    save(layout, tuple(feeds.values()), shapes, list(feeds), LAYOUT_OUTPUTS, path, halved=False)
    session = open_session(path)
    for count, others in COUNTS:
        if count and others:
            compare(session, layout, layout_feeds(network, people=count, objects=others), LAYOUT_OUTPUTS)


def layout_feeds(network: LayoutNetwork, *, people: int, objects: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    boxes = [_boxes(count, 256, 320, generator) for count in (people, objects)]
    labels = torch.randint(network.config.classes, (objects,), generator=generator)
    values = *boxes, labels, torch.rand(objects, generator=generator), torch.tensor([320.0, 256.0])
    return dict(zip(LAYOUT_INPUTS, values, strict=True))


def rounded(network: InteractNet) -> InteractNet:
    """A copy in evaluation mode with large weights rounded as in the files."""
    copied = copy.deepcopy(network).eval()
    linear = {id(part.weight) for part in copied.modules() if isinstance(part, nn.Linear)}
    for weights in copied.parameters():
        if weights.numel() >= MIN_HALVED_SIZE:
            weights.data = _quantize_and_restore(weights.data) if id(weights) in linear else weights.data.half().float()
    return copied


def _quantize_and_restore(weights: Tensor) -> Tensor:
    whole, scale = quantized(weights.numpy())
    return torch.from_numpy(whole * scale)


def check(network: InteractNet, detector: ExportedDetector, interactions: ExportedInteractions, folder: Path) -> None:
    """Compares both graphs with PyTorch: pictures of several sizes, and no people, no objects and many of both."""
    generator = torch.Generator().manual_seed(0)
    session = open_session(folder / "detector.onnx")
    for height, width in SIDES:
        image = torch.rand(1, 3, height, width, generator=generator) * 255
        compare(session, detector, {"image": image}, DETECTOR_OUTPUTS)
    session = open_session(folder / "interactions.onnx")
    for people, objects in COUNTS:
        feeds = interaction_feeds(network, 256, 320, people=people, objects=objects)
        compare(session, interactions, feeds, INTERACTION_OUTPUTS)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def compare(
    session: onnxruntime.InferenceSession, module: nn.Module, feeds: Mapping[str, Tensor], outputs: Sequence[str]
) -> None:
    given = session.run(list(outputs), {name: tensor.numpy() for name, tensor in feeds.items()})
    with torch.inference_mode():
        wanted = module(*feeds.values())
    for name, ours, theirs in zip(outputs, given, wanted, strict=True):
        if ours.shape != tuple(theirs.shape):
            raise ValueError(f"{name} is {ours.shape} as ONNX and {tuple(theirs.shape)} in torch")
        difference = float(np.abs(ours - theirs.numpy()).max(initial=0))
        if difference > TOLERANCE:
            raise ValueError(f"{name} differs by {difference:.2g} between ONNX and torch, more than {TOLERANCE}")


def save(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    shapes: list[Any],
    names: list[str],
    outputs: Sequence[str],
    path: Path,
    *,
    halved: bool = True,
) -> None:
    with warnings.catch_warnings():
        # The exporter's warnings concern its internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if halved:
        quantize_linear(model)
        halve_weights(model)
    forget_origins(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def interaction_feeds(network: InteractNet, height: int, width: int, *, people: int, objects: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    channels = network.config.detector.width
    levels = {
        f"p{3 + at}": torch.randn(1, channels, height // stride, width // stride, generator=generator)
        for at, stride in enumerate((8, 16, 32))
    }
    scores = torch.rand(objects, network.config.detector.classes, generator=generator)
    boxes = [_boxes(count, height, width, generator) for count in (people, objects)]
    return levels | {"people": boxes[0], "objects": boxes[1], "object_scores": scores}


def _boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    ends = torch.rand(count, 2, 2, generator=generator).sort(1).values * torch.tensor([width - 8.0, height - 8.0])
    return torch.cat([ends[:, 0], ends[:, 1] + 8], 1)


def contract_of(
    composition: Composition,
    detection_config: DetectionConfig,
    longest_side_px: int,
    version: str,
    *,
    has_layout: bool = False,
) -> str:
    """The contract of the exported files as TOML, without checksums."""
    outputs = [f'[outputs.{name}]\ntensor = "{name}"\ndtype = "{dtype}"' for name, dtype in CONTRACT_OUTPUTS.items()]
    allowed = [f"{action}-{role} = {json.dumps(list(names))}" for (action, role), names in ALLOWED_CLASSES.items()]
    slots = [[action, role] if role else [action] for action, role in SLOTS]
    return CONTRACT.format(
        version=version,
        layout_part=f'layout = "{LAYOUT_FILE}"\n' if has_layout else "",
        layout_weight=composition.layout_weight,
        outputs="\n\n".join(outputs),
        longest_side_px=longest_side_px,
        classes=json.dumps(list(COCO_CLASSES)),
        slots=json.dumps(slots),
        sigma=composition.sigma,
        action_score=composition.action_score,
        detection=detection_config.score_threshold,
        empty_role=composition.empty_role,
        interaction=MIN_INTERACTION_SCORE,
        shown=MIN_BOX_SCORE,
        allowed="\n".join(allowed),
    )


def read_facts(weights: Path) -> dict[str, Any]:
    """The facts in the contract beside the weights."""
    facts: dict[str, Any] = tomllib.loads(weights.with_suffix(".toml").read_text("utf-8"))["facts"]
    return facts


def composition_from(facts: dict[str, Any]) -> Composition:
    """The composition in the facts of a contract."""
    source, empty_role = ActionScore(facts["action_score"]), facts["thresholds"]["empty_role"]
    weight = facts.get("layout_weight", Composition().layout_weight)
    return Composition(source, facts["sigma"], empty_role, layout_weight=weight)
