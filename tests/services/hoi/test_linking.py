import numpy as np
import pytest

from services.hoi.linking import Curve
from services.hoi.placing import Size

LEFT, RIGHT = [0.0, 0.0, 20.0, 20.0], [100.0, 0.0, 120.0, 20.0]


def test_a_link_goes_from_middle_to_middle() -> None:
    curve = Curve.between(LEFT, RIGHT)
    assert (curve.points[0].tolist(), curve.points[-1].tolist()) == ([10, 10], [110, 10])


def test_links_both_ways_lie_apart() -> None:
    there, back = Curve.between(LEFT, RIGHT), Curve.between(RIGHT, LEFT)
    assert np.linalg.norm(there.middle - back.middle) == pytest.approx(24)


def test_a_link_of_no_length_is_a_point() -> None:
    assert np.isfinite(Curve.between(LEFT, LEFT).points).all()


def test_labels_lie_on_the_link_or_around_its_middle() -> None:
    curve, size = Curve.between(LEFT, RIGHT), Size(30, 10)
    first, *others = curve.spots(size)
    assert (first.left + 15, first.top + 5) == pytest.approx(tuple(curve.middle))
    assert len(set(others)) > 50
