import math

import pytest

from sightline.training.hoi.average_precision import average_precision, eleven_point_precision


def test_average_precision_is_the_area_under_the_envelope() -> None:
    # Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4: the envelope is 1 up to 1/4 and 2/3 up to 2/4.
    assert average_precision([1, 0, 1], [0.9, 0.8, 0.7], 4) == pytest.approx(0.25 + 0.25 * 2 / 3)


def test_predictions_are_ranked_by_score() -> None:
    assert average_precision([0, 1], [0.1, 0.9], 1) == 1


def test_eleven_point_precision_is_the_mean_of_the_envelope() -> None:
    # The envelope is 1 at the recalls 0, .1 and .2, and 2/3 at .3, .4 and .5.
    assert eleven_point_precision([1, 0, 1], [0.9, 0.8, 0.7], 4) == pytest.approx((3 + 3 * 2 / 3) / 11)


def test_average_precision_of_right_predictions_is_one() -> None:
    assert average_precision([1, 1], [0.5, 0.4], 2) == eleven_point_precision([1, 1], [0.5, 0.4], 2) == 1


def test_average_precision_without_predictions_is_zero_and_without_truths_nan() -> None:
    assert average_precision([], [], 3) == eleven_point_precision([], [], 3) == 0
    assert math.isnan(average_precision([0], [0.5], 0))
