import math

import numpy as np
import pytest

from sightline.training.hoi.hico_det import Pairs
from sightline.training.hoi.triplet_scores import FoundPairs, class_precision, mean_precision

PERSON, HORSE, OTHER = [0, 0, 10, 20], [0, 20, 12, 28], [40, 0, 50, 20]


def pairs(*rows: tuple[list[int], list[int], int]) -> Pairs:
    people, objects, classes = zip(*rows, strict=True) if rows else ((), (), ())
    first, second = (np.array(each, np.float32).reshape(-1, 4) for each in (people, objects))
    return Pairs(first, second, np.array(classes, np.int64))


def found(scores: list[float], *rows: tuple[list[int], list[int], int]) -> FoundPairs:
    return FoundPairs(pairs(*rows), np.array(scores, np.float32))


TRUTH = pairs((PERSON, HORSE, 0), (OTHER, HORSE, 0), (PERSON, HORSE, 1))


def test_both_boxes_must_fit() -> None:
    given = found([0.9, 0.8], (PERSON, OTHER, 1), (OTHER, HORSE, 1))

    assert class_precision([given], [TRUTH], 1) == 0


def test_a_pair_is_found_once() -> None:
    # Right, again, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; 1 at six of eleven recalls and 2/3 at five.
    given = found([0.9, 0.8, 0.7], (PERSON, HORSE, 0), (PERSON, HORSE, 0), (OTHER, HORSE, 0))

    assert class_precision([given], [TRUTH], 0) == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_means_are_over_the_classes_that_occur() -> None:
    given = found([0.9, 0.8, 0.7], (PERSON, HORSE, 0), (OTHER, HORSE, 0), (PERSON, HORSE, 2))

    result = mean_precision([given], [TRUTH], np.array([False, True, True]))

    assert (result.full, result.rare, result.non_rare) == (0.5, 0, 1)


def test_a_group_of_which_nothing_occurs_is_unknown() -> None:
    result = mean_precision([found([])], [TRUTH], np.array([False, False]))

    assert math.isnan(result.rare)
    assert result.full == 0
