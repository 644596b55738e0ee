"""Interactions of each person, with the factors of every score."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import numpy as np

from services.hoi.contract_facts import ContractFacts, Slot
from services.hoi.detections import Detections, Floats
from sightline.postprocessing.interactions import (
    NO_OBJECT,
    BranchOutputs,
    DetectedBoxes,
    LayoutOutputs,
    Triplets,
    compose,
    with_layout,
)


class ObjectStatus(StrEnum):
    """Certainty of the object of a role."""

    FOUND = "found"
    UNCERTAIN = "uncertain"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Factors:
    """Factors of a score; `object` and `target` belong to an object, `empty_role` to a role without one."""

    person: float
    action: float
    object: float | None = None
    target: float | None = None
    empty_role: float | None = None

    @property
    def score(self) -> float:
        others = (self.object, self.target, self.empty_role)
        return prod((each for each in others if each is not None), start=self.person * self.action)


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """A person's action; `person` and `object` are rows of the detections.

    `mean` is the (4,) box where the object is expected, encoded relative to the person; `status` is that of the object.
    Both are None for an action without a role.
    """

    person: int
    slot: Slot
    object: int | None
    factors: Factors
    mean: Floats | None
    status: ObjectStatus | None

    @property
    def score(self) -> float:
        """For ranking: a missing object lowers it to less than that of a found one."""
        return self.factors.score

    @property
    def action_score(self) -> float:
        """For the threshold: of a role without object, the score of the action alone."""
        return self.score if self.factors.empty_role is None else self.factors.person * self.factors.action


def find_interactions(
    detections: Detections,
    people: list[int],
    facts: ContractFacts,
    layout: LayoutOutputs | None = None,
    *,
    objects_per_role: int,
) -> list[Interaction]:
    """All interactions of these people, by falling score, also those of low scores.

    `layout` are the layout network's outputs for these people and all detections.
    """
    rows = np.array(people, np.int64)
    branches = BranchOutputs(
        detections.actions[rows], detections.targets[rows], detections.person_logits[rows], detections.object_logits
    )
    if layout is not None:
        branches = with_layout(branches, layout, facts.layout_weight)
    triplets = compose(
        branches,
        DetectedBoxes(detections.boxes_xyxy, detections.scores, rows),
        facts.plausible[detections.labels],
        facts.composition,
        max_objects=objects_per_role,
    )
    all_interactions = [
        each
        for row in range(len(people))
        for each in _of_person(detections, row, people[row], branches.actions[row], facts, triplets)
    ]
    return sorted(all_interactions, key=lambda each: -each.score)


def _of_person(
    detections: Detections, row: int, person: int, alone: Floats, facts: ContractFacts, triplets: Triplets
) -> Iterator[Interaction]:
    """The interactions of one person; `alone` (slots,) are the scores of the person's actions."""
    score = float(detections.scores[person])
    for at, slot in enumerate(facts.slots):
        if slot.role is None:
            yield Interaction(person, slot, None, Factors(score, float(alone[at])), None, None)
            continue
        mean, objects = detections.targets[person, at], triplets.objects[row, at]
        for place in np.flatnonzero(objects != NO_OBJECT):
            thing = int(objects[place])
            factors = Factors(
                score,
                float(triplets.action[row, at, place]),
                float(detections.scores[thing]),
                float(triplets.target[row, at, place]),
            )
            yield Interaction(person, slot, thing, factors, mean, _status(factors, facts))
        if objects[0] == NO_OBJECT:
            factors = Factors(score, float(alone[at]), empty_role=facts.thresholds.empty_role)
            yield Interaction(person, slot, None, factors, mean, ObjectStatus.NOT_FOUND)


def _status(factors: Factors, facts: ContractFacts) -> ObjectStatus:
    certainty = (factors.object or 0.0) * (factors.target or 0.0)
    return ObjectStatus.FOUND if certainty >= facts.thresholds.certain_object else ObjectStatus.UNCERTAIN
