"""V-COCO's measures worked by hand, as its own script would take them."""

from collections.abc import Mapping

import numpy as np
import pytest

from sightline.training.hoi.annotations import (
    ACTIONS,
    CLASS_INDEX,
    ROLES,
    SLOT_INDEX,
    SLOTS,
    SLOTS_OF,
    GroundTruth,
    boxes_without_actions,
)
from sightline.training.hoi.average_precision import Prediction, RoleScores, mean_ap, role_scores

PERSON, OTHER, HORSE, CUP = [0, 0, 99, 99], [200, 0, 299, 99], [0, 100, 99, 199], [210, 50, 219, 59]
RIDE = ("ride", "instr")


def truth(actions: Mapping[int, Mapping[str, int | None]]) -> GroundTruth:
    """Two people, a horse and a cup; who does what with which of the boxes."""
    labels = [CLASS_INDEX[name] for name in ("person", "person", "horse", "cup")]
    known = boxes_without_actions(np.array([PERSON, OTHER, HORSE, CUP], np.float32), np.array(labels))
    for person, done in actions.items():
        known.actions[person] = 0
        for action, target in done.items():
            known.actions[person, list(SLOTS_OF[action])] = 1
            for role in ROLES[action]:
                known.targets[person, SLOT_INDEX[action, role]] = -1 if target is None else target
    return known


def prediction(*rows: tuple[list[int], str, list[int] | None, float]) -> Prediction:
    """A person's box, an action, the box in its role (None: empty) and the score of each row; all else scores 0."""
    count = len(rows)
    made = Prediction(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.zeros((count, len(ACTIONS)), np.float32),
        np.full((count, len(SLOTS), 4), np.nan, np.float32),
        np.zeros((count, len(SLOTS)), np.float32),
    )
    for at, (_, action, target, sure) in enumerate(rows):
        made.agents[at, ACTIONS.index(action)] = sure
        for role in ROLES[action]:
            made.role_scores[at, SLOT_INDEX[action, role]] = sure
            if target:
                made.role_boxes[at, SLOT_INDEX[action, role]] = target
    return made


def scores_of(known: GroundTruth, *rows: tuple[list[int], str, list[int] | None, float]) -> RoleScores:
    return role_scores([prediction(*rows)], [known])


def test_right_triplet_scores_one() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", HORSE, 0.9))

    assert scores.agent["ride", None] == scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 1


def test_wrong_object_is_wrong_in_both_scenarios() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", CUP, 0.9))

    assert scores.agent["ride", None] == 1
    assert scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 0


def test_unannotated_role_must_be_empty_in_scenario_1_alone() -> None:
    known = truth({0: {"ride": None}, 1: {}})

    with_object, empty = (scores_of(known, (PERSON, "ride", box, 0.9)) for box in (HORSE, None))

    assert (with_object.scenario_1[RIDE], with_object.scenario_2[RIDE]) == (0, 1)
    assert (empty.scenario_1[RIDE], empty.scenario_2[RIDE]) == (1, 1)


def test_empty_role_is_wrong_if_an_object_is_annotated() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", None, 0.9))

    assert scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 0


def test_second_prediction_of_a_person_is_wrong() -> None:
    # Ranked: right (.9), the same again (.8), the other one (.7). Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    known = truth({0: {"ride": 2}, 1: {"ride": 2}})
    rows = [(PERSON, "ride", HORSE, 0.9), (PERSON, "ride", HORSE, 0.8), (OTHER, "ride", HORSE, 0.7)]

    scores = scores_of(known, *rows)

    assert scores.scenario_1[RIDE] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert scores.agent["ride", None] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_people_without_annotated_actions_are_not_counted() -> None:
    known = truth({0: {"ride": 2}})

    scores = scores_of(known, (OTHER, "ride", HORSE, 0.95), (PERSON, "ride", HORSE, 0.9))

    assert scores.scenario_1[RIDE] == 1


def test_person_with_low_overlap_is_wrong() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), ([60, 0, 159, 99], "ride", HORSE, 0.9))

    assert scores.agent["ride", None] == scores.scenario_1[RIDE] == 0


def test_roles_of_an_action_are_scored_separately() -> None:
    known = truth({0: {"cut": 2}, 1: {}})
    known.targets[0, SLOT_INDEX["cut", "obj"]] = 3
    given = prediction((PERSON, "cut", HORSE, 0.9))

    scores = role_scores([given], [known])

    assert (scores.scenario_1["cut", "instr"], scores.scenario_1["cut", "obj"]) == (1, 0)


def test_mean_ap_leaves_out_point_and_rows_without_truths() -> None:
    known = truth({0: {"ride": 2, "point": None}, 1: {"hold": 3}})

    scores = scores_of(known, (PERSON, "ride", HORSE, 0.9))

    assert mean_ap(scores.scenario_1) == pytest.approx(0.5)  # ride 1, hold 0
    assert scores.truths["ride"] == 1
    assert scores.common_roles(1) == [("hold", "obj"), RIDE, ("point", "instr")]


def test_role_scores_of_pictures_without_people_or_predictions() -> None:
    nobody = boxes_without_actions(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    scores = role_scores([prediction((PERSON, "ride", HORSE, 0.9)), prediction()], [nobody, truth({0: {"ride": 2}})])

    assert scores.agent["ride", None] == 0
