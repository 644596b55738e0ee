import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.hoi.label_layout import Curve, LabelPlacer, Rect, Size, Spot

LEFT, RIGHT = [0.0, 0.0, 20.0, 20.0], [100.0, 0.0, 120.0, 20.0]


def overlap(one: Rect, other: Rect) -> bool:
    across = min(one.right, other.right) > max(one.left, other.left)
    return across and min(one.bottom, other.bottom) > max(one.top, other.top)


def test_label_takes_the_first_free_spot() -> None:
    placer, spots = LabelPlacer(100, 100), [Spot(10, 10), Spot(30, 10), Spot(50, 10)]

    assert placer.place(Size(20, 10), spots) == Rect(10, 10, 30, 20)
    assert placer.place(Size(20, 10), spots) == Rect(30, 10, 50, 20)
    assert placer.place(Size(20, 10), spots[:2]) is None


def test_label_spots_are_moved_into_the_picture() -> None:
    assert LabelPlacer(100, 100).place(Size(20, 10), [Spot(-5, 96)]) == Rect(0, 90, 20, 100)


def test_label_larger_than_the_picture_is_not_placed() -> None:
    placer = LabelPlacer(19, 100)
    assert placer.place(Size(20, 10), [Spot(0, 0)]) is None


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30), st.floats(-50, 250), st.floats(-50, 150)), max_size=30)
)
def test_labels_never_overlap(wanted: list[tuple[int, int, float, float]]) -> None:
    placer, placed = LabelPlacer(200, 100), list[Rect]()
    for width, height, left, top in wanted:
        rect = placer.place(Size(width, height), [Spot(left, top), Spot(top, left)])
        if rect is not None:
            assert not any(overlap(rect, other) for other in placed)
            assert 0 <= rect.left < rect.right <= 200
            assert 0 <= rect.top < rect.bottom <= 100
            placed.append(rect)


def test_link_joins_the_middles_of_its_boxes() -> None:
    curve = Curve.between(LEFT, RIGHT)
    assert (curve.points[0].tolist(), curve.points[-1].tolist()) == ([10, 10], [110, 10])


def test_links_in_both_directions_lie_apart() -> None:
    there, back = Curve.between(LEFT, RIGHT), Curve.between(RIGHT, LEFT)
    assert np.linalg.norm(there.middle - back.middle) == pytest.approx(24)


def test_link_of_no_length_is_a_point() -> None:
    assert np.isfinite(Curve.between(LEFT, LEFT).points).all()


def test_label_spots_are_on_the_link_or_around_its_middle() -> None:
    curve, size = Curve.between(LEFT, RIGHT), Size(30, 10)
    first, *others = curve.spots(size)
    assert (first.left + 15, first.top + 5) == pytest.approx(tuple(curve.middle))
    assert len(set(others)) > 50
