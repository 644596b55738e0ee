import numpy as np

from services.inpaint.patches import Plane, border, spots_of, train
from services.inpaint.search import Field, Gallery, hang

HEIGHT, WIDTH = 60, 80


def gallery_of(usable: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> tuple[Gallery, Plane]:
    values = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.float32)
    values[10:30, 10:30] = values[30:50, 50:70]
    plane, sources = border(values), spots_of(usable)
    return hang(train(plane, sources), plane, sources), plane


def right_half() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    usable = np.zeros((HEIGHT, WIDTH), bool)
    usable[3:-3, 40:-3] = True
    return usable


def test_a_copied_area_is_found_whole() -> None:
    gallery, plane = gallery_of(right_half())
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[13:27, 13:27] = True
    targets, rng = spots_of(inside), np.random.default_rng(0)
    field = Field(targets, gallery.nearest(targets, plane.width), np.zeros(len(targets), np.float32))
    for _ in range(4):
        gallery.improve(field, plane, rng, reach_px=80)
    assert (plane.places(field.sources) - plane.places(targets) == [20, 40]).all()


def test_sources_are_usable_and_costs_never_rise() -> None:
    usable = right_half() & (np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.2)
    gallery, plane = gallery_of(usable)
    targets, rng = spots_of(~usable), np.random.default_rng(0)
    field = Field(targets, gallery.nearest(targets, plane.width), np.zeros(len(targets), np.float32))
    gallery.improve(field, plane, rng, reach_px=4)
    before = field.costs.copy()
    gallery.improve(field, plane, rng, reach_px=80)
    assert gallery.usable[field.sources].all()
    assert (field.costs <= before).all()
    assert (field.costs < before).any()


def test_nearest_usable_spot() -> None:
    usable = np.zeros((HEIGHT, WIDTH), bool)
    usable[10, 10] = usable[10, 60] = True
    gallery, plane = gallery_of(usable)
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[12, 20] = wanted[10, 60] = wanted[40, 50] = True
    found = plane.places(gallery.nearest(spots_of(wanted), plane.width)) - 3
    assert found.tolist() == [[10, 60], [10, 10], [10, 60]]
