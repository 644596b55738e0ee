import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from sightline.training.hoi.annotations import CLASS_INDEX
from sightline.training.hoi.hico_det import (
    Pairs,
    ScoredPairs,
    class_precision,
    mean_precision,
    rare_classes,
    read_hico_det,
)

PERSON, HORSE, OTHER = [0, 0, 10, 20], [0, 20, 12, 28], [40, 0, 50, 20]


def pairs(*rows: tuple[list[int], list[int], int]) -> Pairs:
    people, objects, classes = zip(*rows, strict=True) if rows else ((), (), ())
    first, second = (np.array(each, np.float32).reshape(-1, 4) for each in (people, objects))
    return Pairs(first, second, np.array(classes, np.int64))


def found(scores: list[float], *rows: tuple[list[int], list[int], int]) -> ScoredPairs:
    return ScoredPairs(pairs(*rows), np.array(scores, np.float32))


TRUTH = pairs((PERSON, HORSE, 0), (OTHER, HORSE, 0), (PERSON, HORSE, 1))


def test_triplet_is_right_only_if_both_boxes_fit() -> None:
    given = found([0.9, 0.8], (PERSON, OTHER, 1), (OTHER, HORSE, 1))

    assert class_precision([given], [TRUTH], 1) == 0


def test_second_match_of_a_pair_is_wrong() -> None:
    # Right, again, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; 1 at six of eleven recalls and 2/3 at five.
    given = found([0.9, 0.8, 0.7], (PERSON, HORSE, 0), (PERSON, HORSE, 0), (OTHER, HORSE, 0))

    assert class_precision([given], [TRUTH], 0) == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_mean_precision_is_over_classes_that_occur() -> None:
    given = found([0.9, 0.8, 0.7], (PERSON, HORSE, 0), (OTHER, HORSE, 0), (PERSON, HORSE, 2))

    result = mean_precision([given], [TRUTH], np.array([False, True, True]))

    assert (result.full, result.rare, result.non_rare) == (0.5, 0, 1)


def test_mean_precision_of_an_empty_group_is_nan() -> None:
    result = mean_precision([found([])], [TRUTH], np.array([False, False]))

    assert math.isnan(result.rare)
    assert result.full == 0


def matlab_box(x1: int, x2: int, y1: int, y2: int) -> dict[str, int]:
    return {"x1": x1, "x2": x2, "y1": y1, "y2": y2}


@pytest.fixture
def hico(tmp_path: Path) -> Path:
    """Two classes, ride a horse and feed a horse; a picture with one person who does both, and one without a pair."""
    actions = [{"nname": "horse", "vname": verb} for verb in ("ride", "feed")]
    both = [
        {
            "id": number,
            "bboxhuman": matlab_box(1, 10, 1, 20),
            "bboxobject": matlab_box(1, 12, 21, 28),
            "connection": np.array([[1, 1]]),
            "invis": 0,
        }
        for number in (1, 2)
    ]
    hidden = both[0] | {"invis": 1, "connection": np.zeros((0, 2))}
    size = {"width": 100, "height": 50, "depth": 3}
    rows = [{"filename": "a.jpg", "size": size, "hoi": both}, {"filename": "b.jpg", "size": size, "hoi": [hidden]}]
    path = tmp_path / "anno_bbox.mat"
    scipy.io.savemat(str(path), {"list_action": actions, "bbox_train": rows, "bbox_test": rows[:1]})
    return path


def test_official_hico_det_is_read_with_pairs(hico: Path, tmp_path: Path) -> None:
    data = read_hico_det(hico, tmp_path, "train")

    horse = CLASS_INDEX["horse"]
    assert (data.verbs, data.hois) == (("ride", "feed"), ((0, horse), (1, horse)))
    first, second = data.scenes
    assert (first.path, first.width, first.height) == (tmp_path / "a.jpg", 100, 50)
    assert first.truth.boxes_xyxy.tolist() == [[0, 0, 10, 20], [0, 20, 12, 28]]
    assert (first.truth.actions[0].tolist(), first.truth.targets[0].tolist()) == ([1, 1], [1, 1])
    assert data.pairs[0].classes.tolist() == [0, 1]
    assert len(second.truth) == len(data.pairs[1].classes) == 0


def test_rare_classes_have_fewer_than_ten_instances(hico: Path, tmp_path: Path) -> None:
    data = read_hico_det(hico, tmp_path, "train")

    assert rare_classes(data.pairs * 10, 3).tolist() == [False, False, True]
    assert rare_classes(data.pairs * 9, 3).tolist() == [True, True, True]
