"""The exported network on one picture at a time, and its outputs as triplets and as V-COCO's predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.networks.interactnet import Interactions
from sightline.postprocessing import interactions as postprocessing
from sightline.postprocessing.interactions import BranchOutputs, Composition, DetectedBoxes, LayoutOutputs, with_layout
from sightline.training.hoi.annotations import (
    ACTIONS,
    ALLOWED_CLASSES,
    CLASS_INDEX,
    COCO_CLASSES,
    PERSON,
    SLOTS,
    SLOTS_OF,
    Detections,
)
from sightline.training.hoi.augmentation import canvas_shape, fit_size, place_on_canvas, resize_to_fit
from sightline.training.hoi.average_precision import Prediction
from sightline.training.hoi.teachers import cpu_session
from sightline.training.photos import Picture

MAX_BOXES = 40
LEVELS = ("p3", "p4", "p5")
INTERACTION_OUTPUTS = ("actions", "targets", "person_logits", "object_logits")
LAYOUT_FILE = "layout.onnx"
LAYOUT_INPUTS, LAYOUT_OUTPUTS = ("people", "objects", "labels", "scores", "size"), ("action_logits", "pair_logits")
Levels = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class BoxTensors:
    """boxes (n, 4), scores (n,) and labels (n,) of a picture; `people` (p,) are the rows of people."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    people: Tensor


@dataclass(frozen=True, slots=True)
class BestTriplets:
    """The best object of each person and slot.

    objects: (p, slots) rows of the boxes or NO_OBJECT; scores: (p, slots) of the roles; agents: (p, slots) s_h * s^a of
    the person alone.
    """

    objects: Tensor
    scores: Tensor
    agents: Tensor


class OnnxInteractNet:
    """The exported graphs: `detect` returns detections and feature levels, from which `interact` predicts.

    `compare` applies the layout network, if its file is in the folder.
    """

    def __init__(self, folder: Path, longest_px: int, *, threads: int = 1) -> None:
        self.detector, self.interactions = (
            cpu_session(folder / name, threads=threads) for name in ("detector.onnx", "interactions.onnx")
        )
        layout = folder / LAYOUT_FILE
        self.layout = cpu_session(layout, threads=threads) if layout.exists() else None
        self.longest_px = longest_px

    def detect(self, picture: Picture, size: tuple[int, int]) -> tuple[Detections, Levels]:
        """Detections in pixels of the picture at the network's size, and the feature levels.

        `size` is the width and height of the photo, which the file may have been squashed from.
        """
        image = np.ascontiguousarray(self.preprocess(picture, size).transpose(2, 0, 1)[None], np.float32)
        boxes, scores, labels, *levels = self.detector.run(["boxes", "scores", "labels", *LEVELS], {"image": image})
        return Detections(boxes, labels, scores), dict(zip(LEVELS, levels, strict=True))

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the picture in the network's input."""
        return fit_size(size, self.longest_px)

    def preprocess(self, picture: Picture, size: tuple[int, int]) -> Picture:
        resized = resize_to_fit(picture, size, self.longest_px)
        return place_on_canvas(resized, canvas_shape(resized.shape[:2], self.longest_px))

    def interact(self, levels: Levels, boxes: BoxTensors) -> Interactions:
        scores = torch.nn.functional.one_hot(boxes.labels, len(COCO_CLASSES)) * boxes.scores[:, None]
        rois = {"people": boxes.boxes[boxes.people].numpy(), "objects": boxes.boxes.numpy()}
        outputs = self.interactions.run(list(INTERACTION_OUTPUTS), {**levels, **rois, "object_scores": scores.numpy()})
        return Interactions(*(torch.from_numpy(each) for each in outputs))

    def compare(self, boxes: BoxTensors, size: tuple[int, int]) -> LayoutOutputs | None:
        """The layout network's outputs in a picture of this width and height; None without the network or people."""
        if self.layout is None or not len(boxes.people):
            return None
        people, size_px = boxes.boxes[boxes.people], torch.tensor(size, dtype=torch.float32)
        values = people, boxes.boxes, boxes.labels, boxes.scores, size_px
        feeds = {name: value.numpy() for name, value in zip(LAYOUT_INPUTS, values, strict=True)}
        return LayoutOutputs(*self.layout.run(list(LAYOUT_OUTPUTS), feeds))


def top_boxes(detections: Detections) -> BoxTensors:
    """The first `MAX_BOXES` detections."""
    chosen = detections.where(np.arange(min(len(detections), MAX_BOXES)))
    boxes, scores, labels = (torch.from_numpy(each) for each in (chosen.boxes_xyxy, chosen.scores, chosen.labels))
    return BoxTensors(boxes, scores, labels, (labels == PERSON).nonzero().squeeze(1))


def compose(
    interactions: Interactions,
    boxes: BoxTensors,
    plausible: Tensor,
    composition: Composition,
    layout: LayoutOutputs | None = None,
) -> BestTriplets:
    """Triplets composed as in the service. plausible: (n, slots), whether a box may have the slot's role."""
    outputs = (interactions.actions, interactions.targets, interactions.person_logits, interactions.object_logits)
    branches = BranchOutputs(*(each.numpy() for each in outputs))
    if layout is not None:
        branches = with_layout(branches, layout, composition.layout_weight)
    triplets = postprocessing.compose(
        branches,
        DetectedBoxes(boxes.boxes.numpy(), boxes.scores.numpy(), boxes.people.numpy()),
        plausible.numpy() > 0,
        composition,
    )
    objects, scores = (torch.from_numpy(each[..., 0]) for each in (triplets.objects, triplets.scores))
    return BestTriplets(objects, scores, boxes.scores[boxes.people][:, None] * torch.from_numpy(branches.actions))


def plausible_slots(*, any_class: bool = False) -> Tensor:
    """(80, 29) of 1 where an object of the class may have the slot's role, and 0."""
    table = torch.zeros(len(COCO_CLASSES), len(SLOTS))
    for at, (action, role) in enumerate(SLOTS):
        if role is not None:
            names = COCO_CLASSES if any_class else ALLOWED_CLASSES.get((action, role), COCO_CLASSES)
            table[[CLASS_INDEX[name] for name in names], at] = 1
    return table


def to_prediction(boxes: BoxTensors, triplets: BestTriplets, scale: tuple[float, float]) -> Prediction:
    """V-COCO's prediction, in pixels of a picture that is larger by `scale` along x and y."""
    scaled = (boxes.boxes * torch.tensor([*scale, *scale])).numpy()
    agents = [triplets.agents[:, list(SLOTS_OF[action])].mean(1) for action in ACTIONS]
    role_boxes = np.full((*triplets.objects.shape, 4), np.nan, np.float32)
    has_object = triplets.objects.numpy() >= 0
    role_boxes[has_object] = scaled[triplets.objects.numpy()[has_object]]
    people = scaled[boxes.people.numpy()]
    return Prediction(people, torch.stack(agents, 1).numpy(), role_boxes, triplets.scores.numpy())
