"""Scores of interactions, computed by hand for two people, a horse and a bench."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.postprocessing.interactions import (
    NO_OBJECT,
    ActionScore,
    BranchOutputs,
    Composition,
    DetectedBoxes,
    Floats,
    LayoutOutputs,
    compose,
    decode_boxes,
    encode_boxes,
    with_layout,
)

HORSE, BENCH = 2, 3
PEOPLE = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], np.float32)
THINGS = np.array([[0, 20, 10, 40], [50, 20, 60, 40]], np.float32)
BOXES = DetectedBoxes(
    np.concatenate([PEOPLE, THINGS]), np.array([0.9, 0.8, 0.5, 0.4], np.float32), np.array([0, 1], np.int64)
)
ANYTHING = np.ones((4, 2), bool)
PAIR = Composition(ActionScore.PAIR, empty_role=0.01)
PERSON = np.array([10, 20, 30, 60], np.float32)
SIDES = st.floats(1, 500)


def zeros(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


@pytest.fixture
def outputs() -> BranchOutputs:
    """Slot 0 is expected just below each person, slot 1 nowhere in particular; all logits are 0."""
    below = encode_boxes(THINGS, PEOPLE)
    actions = np.array([[0.7, 0.6], [0.2, 0.1]], np.float32)
    return BranchOutputs(actions, np.stack([below, below + 9], 1), zeros(2, 2), zeros(4, 2))


def test_compose_assigns_each_person_the_object_at_the_target(outputs: BranchOutputs) -> None:
    triplets = compose(outputs, BOXES, ANYTHING, PAIR)

    assert triplets.objects[:, 0, 0].tolist() == [HORSE, BENCH]
    assert triplets.scores[:, 0, 0] == pytest.approx([0.9 * 0.5 * 0.5, 0.8 * 0.4 * 0.5])
    assert triplets.action[:, 0, 0] == pytest.approx([0.5, 0.5])
    assert triplets.target[:, 0, 0] == pytest.approx([1, 1])


def test_role_without_fitting_object_is_empty(outputs: BranchOutputs) -> None:
    triplets = compose(outputs, BOXES, ANYTHING, PAIR)

    assert triplets.objects[:, 1, 0].tolist() == [NO_OBJECT, NO_OBJECT]
    assert triplets.scores[:, 1, 0] == pytest.approx([0.9 * 0.6 * 0.01, 0.8 * 0.1 * 0.01])
    assert triplets.action[:, 1].tolist() == triplets.target[:, 1].tolist() == [[0], [0]]


def test_further_objects_follow_the_best_one_and_empty_places_score_zero(outputs: BranchOutputs) -> None:
    triplets = compose(outputs, BOXES, ANYTHING, replace(PAIR, uses_targets=False), max_objects=9)

    assert triplets.objects[0, 0].tolist() == [1, HORSE, BENCH, NO_OBJECT]
    assert triplets.scores[0, 0, 3] == 0
    assert (np.diff(triplets.scores, axis=2) <= 0).all()


@pytest.mark.parametrize(
    ("source", "action"),
    [(ActionScore.PERSON, 0.7), (ActionScore.PAIR, 0.5), (ActionScore.GEOMETRIC_MEAN, math.sqrt(0.7 * 0.5))],
)
def test_action_score_of_each_source(outputs: BranchOutputs, source: ActionScore, action: float) -> None:
    triplets = compose(outputs, BOXES, ANYTHING, replace(PAIR, action_score=source))

    assert triplets.scores[0, 0, 0] == pytest.approx(0.9 * 0.5 * action)


def test_target_decides_between_equally_likely_objects(outputs: BranchOutputs) -> None:
    without = compose(outputs, BOXES, ANYTHING, replace(PAIR, uses_targets=False))

    assert without.objects[:, 0, 0].tolist() == [1, 0]


def test_target_score_falls_by_root_of_e_at_one_sigma(outputs: BranchOutputs) -> None:
    off = replace(outputs, targets=outputs.targets + np.array([0.3, 0, 0, 0], np.float32))

    triplets = compose(off, BOXES, ANYTHING, PAIR)

    assert triplets.scores[0, 0, 0] == pytest.approx(0.9 * 0.5 * 0.5 * math.exp(-0.5))


def test_implausible_objects_are_excluded(outputs: BranchOutputs) -> None:
    no_horses = np.array([[1, 1], [1, 1], [0, 1], [1, 1]], bool)

    triplets = compose(outputs, BOXES, no_horses, replace(PAIR, uses_targets=False))

    assert triplets.objects[0, 0, 0] == 1


def test_picture_without_people_has_no_triplets() -> None:
    boxes = DetectedBoxes(THINGS, np.ones(2, np.float32), np.zeros(0, np.int64))
    nothing = BranchOutputs(zeros(0, 2), zeros(0, 2, 4), zeros(0, 2), zeros(2, 2))

    triplets = compose(nothing, boxes, np.ones((2, 2), bool), Composition())

    assert triplets.objects.shape[:2] == triplets.scores.shape[:2] == (0, 2)


def test_picture_without_boxes_has_no_triplets() -> None:
    boxes = DetectedBoxes(zeros(0, 4), zeros(0), np.zeros(0, np.int64))
    nothing = BranchOutputs(zeros(0, 2), zeros(0, 2, 4), zeros(0, 2), zeros(0, 2))

    assert compose(nothing, boxes, np.ones((0, 2), bool), Composition()).objects.shape == (0, 2, 1)


def test_large_logits_cause_no_overflow(outputs: BranchOutputs) -> None:
    huge = replace(outputs, object_logits=np.array([[1e4, -1e4]] * 4, np.float32))

    with np.errstate(over="raise", invalid="raise", divide="raise"):
        scores = compose(huge, BOXES, ANYTHING, PAIR).scores

    assert np.isfinite(scores).all()


def test_encode_boxes_is_relative_to_the_size_of_the_reference() -> None:
    thing = np.array([[30, 20, 70, 40]], np.float32)

    assert encode_boxes(thing, PERSON)[0].tolist() == pytest.approx([30 / 20, -10 / 40, math.log(2), math.log(0.5)])


@given(left=st.floats(-500, 500), top=st.floats(-500, 500), width=SIDES, height=SIDES)
def test_decode_boxes_inverts_encode_boxes(left: float, top: float, width: float, height: float) -> None:
    thing = np.array([left, top, left + width, top + height], np.float32)

    assert decode_boxes(encode_boxes(thing, PERSON), PERSON) == pytest.approx(thing, abs=0.05)


def test_decode_boxes_limits_large_ratios() -> None:
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(decode_boxes(np.array([0, 0, 900, -900], np.float32), PERSON)).all()
        assert np.isfinite(encode_boxes(np.zeros((1, 4), np.float32), PERSON)).all()


def test_layout_network_has_its_share_of_the_logits(outputs: BranchOutputs) -> None:
    layout = LayoutOutputs(np.full((2, 2), 3, np.float32), np.full((2, 4, 2), -3, np.float32))

    without, half, alone = (with_layout(outputs, layout, weight) for weight in (0.0, 0.5, 1.0))

    assert without.actions == pytest.approx(outputs.actions, abs=1e-4)
    assert alone.actions == pytest.approx(np.full((2, 2), 1 / (1 + np.exp(-3))), abs=1e-6)
    logits = np.log(outputs.actions / (1 - outputs.actions))
    assert half.actions == pytest.approx(1 / (1 + np.exp(-(logits + 3) / 2)), abs=1e-5)
    assert half.pair_logits == pytest.approx(np.full((2, 4, 2), -1.5))


def test_pair_logits_replace_the_sums_of_both_boxes(outputs: BranchOutputs) -> None:
    pairs = np.zeros((2, 4, 2), np.float32)
    pairs[0, HORSE] = 9
    chosen = Composition(ActionScore.PAIR, uses_targets=False)

    composed = compose(replace(outputs, pair_logits=pairs), BOXES, ANYTHING, chosen)

    assert composed.objects[0, :, 0].tolist() == [HORSE, HORSE]
