"""V-COCO's measures worked by hand, as its own script would take them."""

from collections.abc import Mapping

import numpy as np
import pytest

from sightline.training.hoi.role_scores import Prediction, Scores, mean, score
from sightline.training.hoi.truth import Truth, boxes_only
from sightline.training.hoi.verbs import ACTIONS, CLASS_INDEX, ROLES, SLOT_INDEX, SLOTS, SLOTS_OF

PERSON, OTHER, HORSE, CUP = [0, 0, 99, 99], [200, 0, 299, 99], [0, 100, 99, 199], [210, 50, 219, 59]
RIDE = ("ride", "instr")


def truth(actions: Mapping[int, Mapping[str, int | None]]) -> Truth:
    """Two people, a horse and a cup; who does what with which of the boxes."""
    labels = [CLASS_INDEX[name] for name in ("person", "person", "horse", "cup")]
    known = boxes_only(np.array([PERSON, OTHER, HORSE, CUP], np.float32), np.array(labels))
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


def scores_of(known: Truth, *rows: tuple[list[int], str, list[int] | None, float]) -> Scores:
    return score([prediction(*rows)], [known])


def test_a_right_triplet() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", HORSE, 0.9))

    assert scores.agent["ride", None] == scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 1


def test_the_wrong_object_is_wrong_in_both_scenarios() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", CUP, 0.9))

    assert scores.agent["ride", None] == 1
    assert scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 0


def test_a_role_without_annotation_must_be_empty_in_scenario_1_alone() -> None:
    known = truth({0: {"ride": None}, 1: {}})

    with_object, empty = (scores_of(known, (PERSON, "ride", box, 0.9)) for box in (HORSE, None))

    assert (with_object.scenario_1[RIDE], with_object.scenario_2[RIDE]) == (0, 1)
    assert (empty.scenario_1[RIDE], empty.scenario_2[RIDE]) == (1, 1)


def test_an_empty_role_where_there_is_an_object_is_wrong() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), (PERSON, "ride", None, 0.9))

    assert scores.scenario_1[RIDE] == scores.scenario_2[RIDE] == 0


def test_a_second_prediction_of_a_person_is_false() -> None:
    # Ranked: right (.9), the same again (.8), the other one (.7). Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    known = truth({0: {"ride": 2}, 1: {"ride": 2}})
    rows = [(PERSON, "ride", HORSE, 0.9), (PERSON, "ride", HORSE, 0.8), (OTHER, "ride", HORSE, 0.7)]

    scores = scores_of(known, *rows)

    assert scores.scenario_1[RIDE] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert scores.agent["ride", None] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_people_of_whom_nothing_is_known_count_neither_way() -> None:
    known = truth({0: {"ride": 2}})

    scores = scores_of(known, (OTHER, "ride", HORSE, 0.95), (PERSON, "ride", HORSE, 0.9))

    assert scores.scenario_1[RIDE] == 1


def test_a_person_found_badly_is_false() -> None:
    scores = scores_of(truth({0: {"ride": 2}, 1: {}}), ([60, 0, 159, 99], "ride", HORSE, 0.9))

    assert scores.agent["ride", None] == scores.scenario_1[RIDE] == 0


def test_roles_of_an_action_are_told_apart() -> None:
    known = truth({0: {"cut": 2}, 1: {}})
    known.targets[0, SLOT_INDEX["cut", "obj"]] = 3
    given = prediction((PERSON, "cut", HORSE, 0.9))

    scores = score([given], [known])

    assert (scores.scenario_1["cut", "instr"], scores.scenario_1["cut", "obj"]) == (1, 0)


def test_means_leave_out_what_could_not_be_found_and_point() -> None:
    known = truth({0: {"ride": 2, "point": None}, 1: {"hold": 3}})

    scores = scores_of(known, (PERSON, "ride", HORSE, 0.9))

    assert mean(scores.scenario_1) == pytest.approx(0.5)  # ride 1, hold 0
    assert scores.truths["ride"] == 1
    assert scores.common_roles(1) == [("hold", "obj"), RIDE, ("point", "instr")]


def test_pictures_without_people_or_predictions() -> None:
    nobody = boxes_only(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    scores = score([prediction((PERSON, "ride", HORSE, 0.9)), prediction()], [nobody, truth({0: {"ride": 2}})])

    assert scores.agent["ride", None] == 0
