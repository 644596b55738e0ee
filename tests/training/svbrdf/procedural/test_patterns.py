import numpy as np
import pytest

from sightline.training.svbrdf.procedural.patterns import bumps, courses, weave


def test_courses_have_so_many_blocks() -> None:
    wall = courses(np.random.default_rng(0), 120, 4, 3, shift=0.0)

    assert len(np.unique(wall.ids)) == 12
    assert wall.depth[15, 20] > wall.depth[15, 38]
    assert wall.raised(2, 2)[15, 20] == 1
    assert wall.raised(2, 2)[30, 20] == 0


def test_every_other_row_is_shifted() -> None:
    wall = courses(np.random.default_rng(0), 120, 4, 3, shift=0.5)

    assert abs(wall.along[15, 0] - wall.along[45, 0]) == pytest.approx(0.5)


@pytest.mark.parametrize("twill", [1, 2, 3])
def test_threads_of_a_weave_alternate(twill: int) -> None:
    cloth = weave(160, 16, twill=twill)

    middle = cloth.over[5::10, 5::10]
    assert 0 < middle.mean() < 1
    assert np.array_equal(middle[:-1, 1:], middle[1:, :-1])
    assert 0 <= cloth.height.min() <= cloth.height.max() <= 1


@pytest.mark.parametrize("long", [1.0, 3.0])
def test_bumps_stand_in_rows(long: float) -> None:
    relief = bumps(128, 8, staggered=False, long=long)

    assert (relief[8::16, 8::16] > 0.7).all()
    assert (relief[::16, ::16] == 0).all()
