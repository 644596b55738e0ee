"""Weighted box fusion of several detectors and of the mirrored picture.

Solovyev, Wang, Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection models", Image and
Vision Computing 2021. Written here because the published package needs numba for a loop over at most 400 boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.detections import Detections, iou_matrix
from sightline.training.photos import Picture

FUSED_IOU = 0.55
MAX_BOXES = 100


class Detector(Protocol):
    def detect(self, picture: Picture) -> Detections:
        """Boxes in the picture's pixels."""
        ...


@dataclass(frozen=True, slots=True)
class FusedDetector:
    """`detect(picture)`: the fused boxes of all detectors, each run on the picture and on its mirror image."""

    detectors: Sequence[Detector]

    def detect(self, picture: Picture) -> Detections:
        mirrored = np.ascontiguousarray(picture[:, ::-1])
        found = [each.detect(picture) for each in self.detectors]
        found += [each.detect(mirrored).flipped(picture.shape[1]) for each in self.detectors]
        return fuse(found)


def fuse(found: Sequence[Detections]) -> Detections:
    """One box for each cluster of boxes of a class; a score falls by the share of sources that missed the box."""
    every = Detections(
        np.concatenate([each.boxes_xyxy for each in found]),
        np.concatenate([each.labels for each in found]),
        np.concatenate([each.scores for each in found]),
    )
    fused = [_fuse_class(every.where(every.labels == label), len(found)) for label in np.unique(every.labels)]
    if not fused:
        return every
    joined = Detections(
        np.concatenate([each.boxes_xyxy for each in fused]),
        np.concatenate([each.labels for each in fused]),
        np.concatenate([each.scores for each in fused]),
    )
    return joined.where(np.argsort(-joined.scores, kind="stable")[:MAX_BOXES])


def _fuse_class(boxes: Detections, sources: int) -> Detections:
    """`boxes` are of one class."""
    boxes = boxes.where(np.argsort(-boxes.scores, kind="stable"))
    clusters: list[list[int]] = []
    centres: list[NDArray[np.float32]] = []
    for at in range(len(boxes)):
        nearest = _nearest(centres, boxes.boxes_xyxy[at])
        if nearest is None:
            clusters.append([at])
            centres.append(boxes.boxes_xyxy[at])
        else:
            clusters[nearest].append(at)
            members = boxes.where(np.array(clusters[nearest]))
            centres[nearest] = np.average(members.boxes_xyxy, axis=0, weights=members.scores).astype(np.float32)
    scores = [boxes.scores[members].mean() * min(len(members), sources) / sources for members in clusters]
    return Detections(np.stack(centres), boxes.labels[: len(clusters)], np.array(scores, np.float32))


def _nearest(centres: Sequence[NDArray[np.float32]], box: NDArray[np.float32]) -> int | None:
    if not centres:
        return None
    overlaps = iou_matrix(np.stack(centres), box[None])[:, 0]
    best = int(overlaps.argmax())
    return best if overlaps[best] > FUSED_IOU else None
