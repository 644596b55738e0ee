"""How good the detector is while it trains: mean AP at IoU 0.5 over the classes of a store of scenes."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sightline.networks.faster_rcnn import Detecting, detect
from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.average_precision import average_precision
from sightline.training.hoi.data import canvas, laid_on_canvas
from sightline.training.hoi.detections import Detections, iou_matrix
from sightline.training.hoi.store import SceneStore
from sightline.training.hoi.truth import Truth
from sightline.training.photos import Picture

MATCH_IOU = 0.5


class Validator:
    def __init__(self, folder: Path) -> None:
        store = SceneStore(folder)
        self.scenes = [store[at] for at in range(len(store))]

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        detector = cast(InteractNet, network)
        px = detector.config.detector.image_px
        found = [detect_in(detector, picture, px, device) for picture, _ in self.scenes]
        return mean_ap_50(found, [truth for _, truth in self.scenes])


def detect_in(network: InteractNet, picture: Picture, longest_px: int, device: torch.device) -> Detections:
    """What the network sees in a picture whose longest side is `longest_px`."""
    laid = laid_on_canvas(picture, canvas(picture.shape[:2], longest_px))
    image = torch.from_numpy(laid).permute(2, 0, 1)[None].float().to(device) / 255
    with torch.inference_mode():
        levels = network.detector.levels(image)
        found = detect(network.detector, levels, (image.shape[2], image.shape[3]), Detecting())
    return Detections(found.boxes.cpu().numpy(), found.labels.cpu().numpy(), found.scores.cpu().numpy())


def mean_ap_50(found: Sequence[Detections], truths: Sequence[Truth]) -> float:
    """Over the classes that are there; boxes of confidence 0 count neither way."""
    present = np.unique(np.concatenate([truth.labels[truth.confidence > 0] for truth in truths]))
    return float(np.mean([class_ap_50(found, truths, int(label)) for label in present]))


def class_ap_50(found: Sequence[Detections], truths: Sequence[Truth], label: int) -> float:
    right: list[NDArray[np.bool_]] = []
    scores: list[NDArray[np.float32]] = []
    count = 0
    for detections, truth in zip(found, truths, strict=True):
        mine, wanted = detections.where(detections.labels == label), truth.labels == label
        count += int((wanted & (truth.confidence > 0)).sum())
        hits, counts = matches(mine, truth, wanted)
        right.append(hits[counts])
        scores.append(mine.scores[counts])
    return average_precision(np.concatenate(right), np.concatenate(scores), count)


def matches(mine: Detections, truth: Truth, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections, by falling score, are the first on a true box; and which count, as ignored boxes do not."""
    overlaps = iou_matrix(mine.boxes_xyxy, truth.boxes_xyxy[wanted])
    ignored = truth.confidence[wanted] == 0
    hits, counts = np.zeros(len(mine), bool), np.ones(len(mine), bool)
    taken = np.zeros(len(ignored), bool)
    for at in range(len(mine)):
        best = int(overlaps[at].argmax()) if overlaps.shape[1] else -1
        if best < 0 or overlaps[at, best] < MATCH_IOU:
            continue
        counts[at] = not ignored[best]
        hits[at] = not taken[best] and not ignored[best]
        taken[best] = True
    return hits, counts
