"""COCO's own measure of boxes, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.training.hoi.detections import Detections
from sightline.training.hoi.truth import Truth
from sightline.training.hoi.verbs import COCO_IDS, PERSON

HALF = 0.5


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Average precision at IoU 0.5 of people and the mean over classes, and COCO's mean over IoU 0.5 to 0.95."""

    person_ap_50: float
    mean_ap_50: float
    mean_ap: float


def box_scores(found: Sequence[Detections], truths: Sequence[Truth]) -> BoxScores:
    """Boxes of confidence 0 count neither way, as crowds do."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_truths(truths), _findings(found, truths), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # (thresholds, recalls, classes, areas, most): -1 where a class does not occur.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    at_half = precision[int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, HALF))[0])]
    return BoxScores(_mean(at_half[:, PERSON]), _mean(at_half), _mean(precision))


def _mean(precision: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    there = precision[precision > -1]
    return float(there.mean()) if there.size else float("nan")


def _truths(truths: Sequence[Truth]) -> COCO:
    rows = [
        {
            "image_id": at,
            "category_id": COCO_IDS[label],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(sure == 0),
        }
        for at, truth in enumerate(truths)
        for box, label, sure in zip(_xywh(truth.boxes_xyxy), truth.labels, truth.confidence, strict=True)
    ]
    document = COCO()
    document.dataset = {
        "images": [{"id": at} for at in range(len(truths))],
        "annotations": [{"id": at + 1, **row} for at, row in enumerate(rows)],
        "categories": [{"id": number} for number in COCO_IDS],
    }
    document.createIndex()
    return document


def _findings(found: Sequence[Detections], truths: Sequence[Truth]) -> COCO:
    rows = [
        {"image_id": at, "category_id": COCO_IDS[label], "bbox": box, "score": float(sure)}
        for at, each in enumerate(found)
        for box, label, sure in zip(_xywh(each.boxes_xyxy), each.labels, each.scores, strict=True)
    ]
    return _truths(truths).loadRes(rows) if rows else COCO()


def _xywh(boxes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[list[float]]:
    rows: list[list[float]] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float).tolist()
    return rows
