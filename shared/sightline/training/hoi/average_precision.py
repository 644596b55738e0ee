"""Average precision of ranked predictions: PASCAL VOC's, V-COCO's AP_agent and AP_role, and COCO's for boxes.

Gupta and Malik, "Visual Semantic Role Labeling", arXiv:1505.04474; V-COCO's figures follow its `vsrl_eval.py`.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.training.hoi.annotations import (
    ACTIONS,
    COCO_IDS,
    PERSON,
    SLOTS,
    SLOTS_OF,
    Boxes,
    Detections,
    GroundTruth,
)

MATCH_IOU = 0.5
POINT = ("point", "instr")
"""Left out of published means, as it has 15 training examples."""

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
ApTable = Mapping[tuple[str, str | None], float]
"""AP by action and role (None for AP_agent); NaN for those without ground truth."""
RankedPredictions = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""Masks of the right predictions, and their scores."""


def average_precision(is_right: ArrayLike, scores: ArrayLike, truths: int) -> float:
    """The area under the envelope of precision over recall, as in PASCAL VOC since 2010.

    `is_right` and `scores` (n,) are of the predictions, `truths` is the number of annotated instances. NaN if there are
    none.
    """
    if truths == 0:
        return float("nan")
    recall, envelope = _curve(is_right, scores, truths)
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def eleven_point_precision(is_right: ArrayLike, scores: ArrayLike, truths: int) -> float:
    """The mean of the envelope at the recalls 0, 0.1, ... 1, as in PASCAL VOC before 2010."""
    if truths == 0:
        return float("nan")
    recall, envelope = _curve(is_right, scores, truths)
    places = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)
    return float(np.append(envelope, 0.0)[places].mean())


def _curve(is_right: ArrayLike, scores: ArrayLike, truths: int) -> Curve:
    """Recall after each prediction, and the best precision at that recall or a higher one."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hits = np.cumsum(np.asarray(is_right, np.float64)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    return hits / truths, np.maximum.accumulate(precision[::-1])[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Predictions for the p people of a picture.

    people: (p, 4); agents: (p, 26) scores of the actions; role_boxes: (p, 29, 4), NaN where the role is predicted to be
    empty; role_scores: (p, 29).
    """

    people: Boxes
    agents: NDArray[np.float32]
    role_boxes: NDArray[np.float32]
    role_scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RoleScores:
    """AP_agent and AP_role in both scenarios. `truths` is the number of people that do each action."""

    agent: ApTable
    scenario_1: ApTable
    scenario_2: ApTable
    truths: Mapping[str, int]

    def common_roles(self, min_truths: int) -> list[tuple[str, str | None]]:
        """The pairs of action and role with at least this number of truths."""
        return [slot for slot in self.scenario_1 if self.truths[slot[0]] >= min_truths]


def mean_ap(table: ApTable, chosen: Sequence[tuple[str, str | None]] | None = None) -> float:
    """The mean over the chosen rows, or over all but `point`, without those that are NaN."""
    rows = [slot for slot in table if slot[0] != POINT[0]] if chosen is None else chosen
    defined = [table[slot] for slot in rows if not np.isnan(table[slot])]
    return float(np.mean(defined)) if defined else float("nan")


def role_scores(predictions: Sequence[Prediction], truths: Sequence[GroundTruth]) -> RoleScores:
    pairs = [_Matched.of(prediction, truth) for prediction, truth in zip(predictions, truths, strict=True)]
    counts = {action: sum(pair.count(SLOTS_OF[action][0]) for pair in pairs) for action in ACTIONS}
    agent: dict[tuple[str, str | None], float] = {}
    for at, action in enumerate(ACTIONS):
        agent[action, None] = _ap([pair.agents(at, SLOTS_OF[action][0]) for pair in pairs], counts[action])
    return RoleScores(agent, _role_table(pairs, counts, strict=True), _role_table(pairs, counts, strict=False), counts)


def _role_table(pairs: "Sequence[_Matched]", counts: Mapping[str, int], *, strict: bool) -> ApTable:
    roles = [(at, slot) for at, slot in enumerate(SLOTS) if slot[1] is not None]
    return {slot: _ap([pair.roles(at, strict=strict) for pair in pairs], counts[slot[0]]) for at, slot in roles}


def _ap(ranked: Sequence[RankedPredictions], count: int) -> float:
    is_right, scores = (np.concatenate(each) for each in zip(*ranked, strict=True))
    return average_precision(is_right, scores, count)


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """A prediction with the annotated person that overlaps each predicted one most.

    Only the predicted people `judged` (p,) count: those on a person without annotated actions are left out.
    """

    prediction: Prediction
    truth: GroundTruth
    people: NDArray[np.int64]
    match: NDArray[np.int64]
    overlap: NDArray[np.float32]
    judged: NDArray[np.int64]

    @classmethod
    def of(cls, prediction: Prediction, truth: GroundTruth) -> "_Matched":
        people = np.flatnonzero((truth.labels == PERSON) & (truth.confidence > 0))
        overlaps = pixel_iou(prediction.people, truth.boxes_xyxy[people])
        if not len(people):
            nothing = np.zeros(len(prediction.people), np.int64)
            return cls(prediction, truth, people, nothing, nothing.astype(np.float32), nothing[:0])
        match = overlaps.argmax(1)
        annotated = (truth.actions[people[match]] >= 0).any(1)
        return cls(prediction, truth, people, people[match], overlaps.max(1), np.flatnonzero(annotated))

    def count(self, slot: int) -> int:
        return int((self.truth.actions[self.people, slot] == 1).sum())

    def agents(self, action: int, slot: int) -> RankedPredictions:
        scores = self.prediction.agents[self.judged, action]
        return self._first_of_each(self._does(slot), scores), scores

    def roles(self, slot: int, *, strict: bool) -> RankedPredictions:
        """`strict` is scenario 1, where a role without annotated object must be predicted to be empty."""
        scores = self.prediction.role_scores[self.judged, slot]
        boxes = self.prediction.role_boxes[self.judged, slot]
        target = self.truth.targets[self.match[self.judged], slot]
        empty = np.isnan(boxes).all(1)
        expected = self.truth.boxes_xyxy[target.clip(0)]
        overlaps = _paired_iou(np.nan_to_num(boxes), expected) >= MATCH_IOU
        is_right = np.where(target >= 0, overlaps & ~empty, empty | (not strict))
        return self._first_of_each(self._does(slot) & is_right, scores), scores

    def _does(self, slot: int) -> NDArray[np.bool_]:
        on_person = self.overlap[self.judged] >= MATCH_IOU
        return np.asarray(on_person & (self.truth.actions[self.match[self.judged], slot] == 1), bool)

    def _first_of_each(self, is_right: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Keeps the best right prediction of each person; the others count as wrong."""
        kept, matched = np.zeros(len(is_right), bool), set()
        for at in np.argsort(-scores, kind="stable"):
            person = int(self.match[self.judged[at]])
            if is_right[at] and person not in matched:
                kept[at] = True
                matched.add(person)
        return kept


def pixel_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n, m) IoU as in the official script, where both corners belong to the box."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (bottom_right - top_left + 1).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared), np.float32)


def _paired_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n,) `pixel_iou` of the rows of both."""
    shared = (np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]) + 1).clip(0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0] + areas[1] - shared), np.float32)


@dataclass(frozen=True, slots=True)
class BoxScores:
    """AP at IoU 0.5 of people, the mean of it over classes, and COCO's mean over IoU 0.5 to 0.95."""

    person_ap_50: float
    mean_ap_50: float
    mean_ap: float


def box_scores(detections: Sequence[Detections], truths: Sequence[GroundTruth]) -> BoxScores:
    """COCO's AP by pycocotools. Detections on boxes of confidence 0 are not counted, as on COCO's crowds."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco_truths(truths), _coco_detections(detections, truths), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # (thresholds, recalls, classes, areas, limits of detections): -1 for classes that do not occur.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    at_half = precision[int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, MATCH_IOU))[0])]
    return BoxScores(_mean_precision(at_half[:, PERSON]), _mean_precision(at_half), _mean_precision(precision))


def _mean_precision(precision: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else float("nan")


def _coco_truths(truths: Sequence[GroundTruth]) -> COCO:
    rows = [
        {
            "image_id": at,
            "category_id": COCO_IDS[label],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(confidence == 0),
        }
        for at, truth in enumerate(truths)
        for box, label, confidence in zip(_xywh(truth.boxes_xyxy), truth.labels, truth.confidence, strict=True)
    ]
    document = COCO()
    document.dataset = {
        "images": [{"id": at} for at in range(len(truths))],
        "annotations": [{"id": at + 1, **row} for at, row in enumerate(rows)],
        "categories": [{"id": number} for number in COCO_IDS],
    }
    document.createIndex()
    return document


def _coco_detections(detections: Sequence[Detections], truths: Sequence[GroundTruth]) -> COCO:
    rows = [
        {"image_id": at, "category_id": COCO_IDS[label], "bbox": box, "score": float(score)}
        for at, each in enumerate(detections)
        for box, label, score in zip(_xywh(each.boxes_xyxy), each.labels, each.scores, strict=True)
    ]
    return _coco_truths(truths).loadRes(rows) if rows else COCO()


def _xywh(boxes: Boxes) -> list[list[float]]:
    rows: list[list[float]] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float).tolist()
    return rows
