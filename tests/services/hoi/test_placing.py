from hypothesis import given
from hypothesis import strategies as st

from services.hoi.placing import Placer, Rect, Size, Spot


def overlap(one: Rect, other: Rect) -> bool:
    across = min(one.right, other.right) > max(one.left, other.left)
    return across and min(one.bottom, other.bottom) > max(one.top, other.top)


def test_the_first_free_spot_is_taken() -> None:
    placer, spots = Placer(100, 100), [Spot(10, 10), Spot(30, 10), Spot(50, 10)]

    assert placer.place(Size(20, 10), spots) == Rect(10, 10, 30, 20)
    assert placer.place(Size(20, 10), spots) == Rect(30, 10, 50, 20)
    assert placer.place(Size(20, 10), spots[:2]) is None
    assert placer.squeeze_in(Size(20, 10), [Spot(10, 10), Spot(45, 10)]) == Rect(45, 10, 65, 20)


def test_spots_are_moved_into_the_picture() -> None:
    assert Placer(100, 100).place(Size(20, 10), [Spot(-5, 96)]) == Rect(0, 90, 20, 100)


def test_nothing_is_placed_in_a_picture_that_is_smaller() -> None:
    placer = Placer(19, 100)
    assert placer.place(Size(20, 10), [Spot(0, 0)]) is None
    assert placer.squeeze_in(Size(20, 10), [Spot(0, 0)]) is None


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30), st.floats(-50, 250), st.floats(-50, 150)), max_size=30)
)
def test_no_label_ever_hides_another(wanted: list[tuple[int, int, float, float]]) -> None:
    placer, placed = Placer(200, 100), list[Rect]()
    for width, height, left, top in wanted:
        rect = placer.place(Size(width, height), [Spot(left, top), Spot(top, left)])
        if rect is not None:
            assert not any(overlap(rect, other) for other in placed)
            assert 0 <= rect.left < rect.right <= 200
            assert 0 <= rect.top < rect.bottom <= 100
            placed.append(rect)
