"""Every score by hand."""

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.hoi.contract_facts import ContractFacts, Role, Slot, Thresholds
from services.hoi.detections import Detections
from services.hoi.interactions import Interaction, ObjectStatus, find_interactions
from sightline.postprocessing.interactions import ActionScore

SLOTS = [["ride", "instr"], ["hold", "obj"], ["walk"]]
FACTS = ContractFacts.model_validate(
    {
        "longest_side_px": 64,
        "classes": ["person", "bicycle", "dog"],
        "slots": SLOTS,
        "sigma": 0.5,
        "thresholds": {"empty_role": 0.05},
    }
)
PERSON, BICYCLE, DOG = range(3)


def found(*things: tuple[int, float, tuple[float, float, float, float]], logits: float = 0.0) -> Detections:
    """(label, score, box) of each; all people ride with 0.64, hold with 0.36 and walk with 0.25."""
    count = len(things)
    people = np.array([label == PERSON for label, _, _ in things], np.float32)
    return Detections(
        boxes_xyxy=np.array([box for _, _, box in things], np.float32).reshape(count, 4),
        scores=np.array([score for _, score, _ in things], np.float32),
        labels=np.array([label for label, _, _ in things], np.int64),
        actions=people[:, None] * np.array([0.64, 0.36, 0.25], np.float32),
        targets=np.zeros((count, 3, 4), np.float32),
        person_logits=np.zeros((count, 3), np.float32),
        object_logits=np.full((count, 3), logits, np.float32),
    )


def only(every: list[Interaction], action: str, person: int = 0) -> Interaction:
    (one,) = [each for each in every if each.slot.action == action and each.person == person]
    return one


def test_score_is_the_product_of_its_factors() -> None:
    every = find_interactions(
        found((PERSON, 0.9, (0, 0, 10, 20)), (BICYCLE, 0.8, (5, 0, 15, 40))), [0], FACTS, objects_per_role=1
    )

    ride = only(every, "ride")
    target = exp(-(0.5**2 + 0.5**2 + log(2) ** 2) / (2 * 0.5**2))
    assert (ride.slot.role, ride.object) == (Role.INSTRUMENT, 1)
    assert ride.factors.person == pytest.approx(0.9)
    assert ride.factors.object == pytest.approx(0.8)
    assert ride.factors.action == pytest.approx(sqrt(0.64 * 0.5))
    assert ride.factors.target == pytest.approx(target)
    assert ride.score == pytest.approx(0.9 * 0.8 * sqrt(0.64 * 0.5) * target)


def test_action_without_role_has_no_object() -> None:
    walk = only(find_interactions(found((PERSON, 0.9, (0, 0, 10, 20))), [0], FACTS, objects_per_role=1), "walk")

    assert walk.score == pytest.approx(0.9 * 0.25)
    assert (walk.slot.role, walk.object, walk.factors.object, walk.factors.target, walk.mean) == (None,) * 5


def test_role_without_a_fitting_object_is_empty() -> None:
    far = find_interactions(
        found((PERSON, 0.9, (0, 0, 10, 20)), (BICYCLE, 0.8, (90, 0, 100, 20))), [0], FACTS, objects_per_role=1
    )

    ride = only(far, "ride")
    assert (ride.slot.role, ride.object, ride.factors.object, ride.factors.target) == (
        Role.INSTRUMENT,
        None,
        None,
        None,
    )
    assert ride.score == pytest.approx(0.9 * 0.64 * 0.05)
    assert ride.action_score == pytest.approx(0.9 * 0.64)
    assert ride.status is ObjectStatus.NOT_FOUND
    assert ride.mean is not None


def test_unlikely_object_is_uncertain_and_ranks_above_a_missing_one() -> None:
    person, bicycle = (PERSON, 0.9, (0.0, 0.0, 10.0, 20.0)), (BICYCLE, 0.2, (0.0, 0.0, 10.0, 20.0))
    with_bicycle = only(find_interactions(found(person, bicycle), [0], FACTS, objects_per_role=1), "ride")
    without = only(find_interactions(found(person), [0], FACTS, objects_per_role=1), "ride")
    sure = only(find_interactions(found(person, (BICYCLE, 0.9, person[2])), [0], FACTS, objects_per_role=1), "ride")

    assert (with_bicycle.object, with_bicycle.status) == (1, ObjectStatus.UNCERTAIN)
    assert (without.object, without.status) == (None, ObjectStatus.NOT_FOUND)
    assert sure.status is ObjectStatus.FOUND
    assert sure.score > with_bicycle.score > without.score


@given(scores=st.lists(st.floats(0.015625, 1, width=32), min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_missing_object_ranks_below_a_found_one(scores: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 50, (len(scores), 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 40, (len(scores), 2))])
    labels = [PERSON, *rng.integers(0, 3, len(scores) - 1)]
    things = found(*((int(label), score, tuple(box)) for label, score, box in zip(labels, scores, boxes, strict=True)))
    full = find_interactions(things, [0], FACTS, objects_per_role=1)
    alone = find_interactions(things.select(np.array([0])), [0], FACTS, objects_per_role=1)

    for action in ("ride", "hold"):
        if only(full, action).object is not None:
            assert only(full, action).score >= only(alone, action).score * (1 - 1e-5)


def test_object_must_score_above_the_empty_role() -> None:
    things = found((PERSON, 0.1, (0, 0, 10, 20)), (BICYCLE, 0.8, (0, 0, 10, 20)))
    fit = 0.8 * sqrt(0.64 * 0.5) / 0.64
    for threshold, thing in ((fit - 0.01, 1), (fit + 0.01, None)):
        facts = FACTS.model_copy(update={"thresholds": Thresholds(empty_role=threshold)})
        assert only(find_interactions(things, [0], facts, objects_per_role=1), "ride").object == thing


def test_object_is_chosen_by_action_and_place_not_by_its_own_score() -> None:
    things = found(
        (PERSON, 0.9, (0, 0, 10, 20)),
        (BICYCLE, 0.8, (4, 0, 14, 20)),
        (BICYCLE, 0.7, (0, 0, 10, 20)),
        (DOG, 0.1, (0, 0, 9, 9)),
    )

    assert only(find_interactions(things, [0], FACTS, objects_per_role=1), "ride").object == 2
    several = [
        each.object for each in find_interactions(things, [0], FACTS, objects_per_role=2) if each.slot.action == "ride"
    ]
    assert several == [2, 1]


def test_person_is_an_object_of_others_only() -> None:
    things = found((PERSON, 0.9, (0, 0, 10, 20)), (PERSON, 0.8, (0, 0, 10, 20)))
    every = find_interactions(things, [0, 1], FACTS, objects_per_role=5)

    assert {(each.person, each.object) for each in every if each.slot.action == "hold"} == {(0, 1), (1, 0)}


def test_object_of_several_people_and_person_of_several_actions() -> None:
    things = found((PERSON, 0.9, (0, 0, 10, 20)), (PERSON, 0.8, (4, 0, 14, 20)), (BICYCLE, 0.9, (2, 0, 12, 20)))
    every = find_interactions(things, [0, 1], FACTS, objects_per_role=1)

    rides = {(each.person, each.object) for each in every if each.slot.action == "ride"}
    assert rides == {(0, 2), (1, 2)}
    assert {each.slot.action for each in every if each.person == 0} == {"ride", "hold", "walk"}
    assert [each.score for each in every] == sorted((each.score for each in every), reverse=True)


def test_interactions_are_of_the_given_people_only() -> None:
    things = found((PERSON, 0.9, (0, 0, 10, 20)), (PERSON, 0.8, (50, 0, 60, 20)))

    assert {each.person for each in find_interactions(things, [0], FACTS, objects_per_role=1)} == {0}
    assert find_interactions(things, [], FACTS, objects_per_role=1) == []


def test_implausible_class_is_never_the_object() -> None:
    facts = ContractFacts.model_validate(
        {**FACTS.model_dump(exclude={"slots"}), "slots": SLOTS, "allowed": {"ride-instr": ["bicycle"]}}
    )
    things = found((PERSON, 0.9, (0, 0, 10, 20)), (DOG, 0.9, (0, 0, 10, 20)), (BICYCLE, 0.5, (2, 0, 12, 20)))

    assert only(find_interactions(things, [0], facts, objects_per_role=1), "ride").object == 2
    assert (
        only(find_interactions(things.select(np.array([0, 1])), [0], facts, objects_per_role=1), "ride").object is None
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(ActionScore.PERSON, 0.64), (ActionScore.PAIR, 0.75), (ActionScore.GEOMETRIC_MEAN, sqrt(0.64 * 0.75))],
)
def test_action_score_is_chosen_by_the_contract(kind: ActionScore, expected: float) -> None:
    things = found((PERSON, 1.0, (0, 0, 10, 20)), (BICYCLE, 1.0, (0, 0, 10, 20)), logits=log(3))
    facts = FACTS.model_copy(update={"action_score": kind})

    assert only(find_interactions(things, [0], facts, objects_per_role=1), "ride").score == pytest.approx(expected)


def test_slot_name_is_action_and_role() -> None:
    assert [str(slot) for slot in FACTS.slots] == ["ride-instr", "hold-obj", "walk"]
    assert FACTS.slots[2] == Slot(action="walk")
