"""V-COCO's measures, AP_agent and AP_role in both scenarios, as its `vsrl_eval.py` takes them.

Gupta and Malik, "Visual Semantic Role Labeling", arXiv:1505.04474.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.average_precision import average_precision
from sightline.training.hoi.detections import Boxes
from sightline.training.hoi.truth import Truth
from sightline.training.hoi.verbs import ACTIONS, PERSON, SLOTS, SLOTS_OF

MATCH_IOU = 0.5
POINT = ("point", "instr")
"""Left out of published means, as it has 15 examples to learn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Of one picture: people (p, 4), agents (p, 26) scores of the actions, role_boxes (p, 29, 4), NaN where the role is
    said to be empty, and role_scores (p, 29)."""

    people: Boxes
    agents: NDArray[np.float32]
    role_boxes: NDArray[np.float32]
    role_scores: NDArray[np.float32]


Figures = Mapping[tuple[str, str | None], float]
"""AP of each action (with the role None) or action and role; NaN where there was nothing to find."""


@dataclass(frozen=True, slots=True)
class Scores:
    """`truths`: how many people do each action, which is what recall is measured against."""

    agent: Figures
    scenario_1: Figures
    scenario_2: Figures
    truths: Mapping[str, int]

    def common_roles(self, least: int) -> list[tuple[str, str | None]]:
        """The pairs of action and role with so many truths."""
        return [slot for slot in self.scenario_1 if self.truths[slot[0]] >= least]


def mean(figures: Figures, chosen: Sequence[tuple[str, str | None]] | None = None) -> float:
    """Of the chosen ones, or of all that could be found but for `point`."""
    kept = [slot for slot in figures if slot[0] != POINT[0]] if chosen is None else chosen
    there = [figures[slot] for slot in kept if not np.isnan(figures[slot])]
    return float(np.mean(there)) if there else float("nan")


def score(predictions: Sequence[Prediction], truths: Sequence[Truth]) -> Scores:
    pairs = [_Matched.of(prediction, truth) for prediction, truth in zip(predictions, truths, strict=True)]
    counts = {action: sum(pair.count(SLOTS_OF[action][0]) for pair in pairs) for action in ACTIONS}
    agent: dict[tuple[str, str | None], float] = {}
    for at, action in enumerate(ACTIONS):
        agent[action, None] = _ap([pair.agents(at, SLOTS_OF[action][0]) for pair in pairs], counts[action])
    return Scores(agent, _role_figures(pairs, counts, strict=True), _role_figures(pairs, counts, strict=False), counts)


def _role_figures(pairs: "Sequence[_Matched]", counts: Mapping[str, int], *, strict: bool) -> Figures:
    roles = [(at, slot) for at, slot in enumerate(SLOTS) if slot[1] is not None]
    return {slot: _ap([pair.roles(at, strict=strict) for pair in pairs], counts[slot[0]]) for at, slot in roles}


Findings = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""Whether each prediction is right, and its score."""


def _ap(found: Sequence[Findings], count: int) -> float:
    right, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    return average_precision(right, scores, count)


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """A prediction with the person that overlaps each of its people most. Those on a person of whom nothing was said
    count neither way: only `judged` (p,) do."""

    prediction: Prediction
    truth: Truth
    people: NDArray[np.int64]
    match: NDArray[np.int64]
    overlap: NDArray[np.float32]
    judged: NDArray[np.int64]

    @classmethod
    def of(cls, prediction: Prediction, truth: Truth) -> "_Matched":
        people = np.flatnonzero((truth.labels == PERSON) & (truth.confidence > 0))
        overlaps = pixel_iou(prediction.people, truth.boxes_xyxy[people])
        if not len(people):
            nothing = np.zeros(len(prediction.people), np.int64)
            return cls(prediction, truth, people, nothing, nothing.astype(np.float32), nothing[:0])
        match = overlaps.argmax(1)
        said = (truth.actions[people[match]] >= 0).any(1)
        return cls(prediction, truth, people, people[match], overlaps.max(1), np.flatnonzero(said))

    def count(self, slot: int) -> int:
        return int((self.truth.actions[self.people, slot] == 1).sum())

    def agents(self, action: int, slot: int) -> Findings:
        scores = self.prediction.agents[self.judged, action]
        return self._first_of_each(self._does(slot), scores), scores

    def roles(self, slot: int, *, strict: bool) -> Findings:
        """`strict` is scenario 1, where a role that was not annotated has to be said to be empty."""
        scores = self.prediction.role_scores[self.judged, slot]
        given = self.prediction.role_boxes[self.judged, slot]
        target = self.truth.targets[self.match[self.judged], slot]
        empty = np.isnan(given).all(1)
        wanted = self.truth.boxes_xyxy[target.clip(0)]
        placed = _paired_iou(np.nan_to_num(given), wanted) >= MATCH_IOU
        right = np.where(target >= 0, placed & ~empty, empty | (not strict))
        return self._first_of_each(self._does(slot) & right, scores), scores

    def _does(self, slot: int) -> NDArray[np.bool_]:
        on_person = self.overlap[self.judged] >= MATCH_IOU
        return np.asarray(on_person & (self.truth.actions[self.match[self.judged], slot] == 1), bool)

    def _first_of_each(self, right: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Only the surest prediction of each person is right, the others are false."""
        kept, taken = np.zeros(len(right), bool), set()
        for at in np.argsort(-scores, kind="stable"):
            person = int(self.match[self.judged[at]])
            if right[at] and person not in taken:
                kept[at] = True
                taken.add(person)
        return kept


def pixel_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n, m) as the official script takes it, which counts both corners in."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (bottom_right - top_left + 1).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared), np.float32)


def _paired_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n,) of one with one."""
    shared = (np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]) + 1).clip(0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0] + areas[1] - shared), np.float32)
