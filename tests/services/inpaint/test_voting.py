import numpy as np

from services.inpaint.patches import Plane, Spots, border, spots_of
from services.inpaint.search import Field
from services.inpaint.voting import trust, vote


def plane_with_hole() -> tuple[Plane, Spots, Spots]:
    values = np.tile(np.arange(60, dtype=np.float32)[:, None], (40, 1, 3)).reshape(40, 60, 3)
    hole = np.zeros((40, 60), bool)
    hole[15:20, 20:25] = True
    values[hole] = 255
    near = np.zeros((40, 60), bool)
    near[12:23, 17:28] = True
    return border(values), spots_of(near), spots_of(hole)


def test_pixels_come_from_where_all_patches_agree() -> None:
    plane, targets, inside = plane_with_hole()
    before = plane.values.copy()
    field = Field(targets, targets + np.int32(20), np.zeros(len(targets), np.float32))
    vote(plane, inside, field, np.ones(len(targets), np.float32))
    assert np.allclose(plane.values[inside], before[inside + 20])
    rest = np.setdiff1d(np.arange(len(before)), inside)
    assert np.array_equal(plane.values[rest], before[rest])


def test_likelier_patches_count_more() -> None:
    plane, targets, inside = plane_with_hole()
    near = targets % 2 == 0
    sources = np.where(near, targets + 20, targets - 15).astype(np.int32)
    costs = np.where(near, 0, 50).astype(np.float32)
    expected = plane.values[inside + 20]
    vote(plane, inside, Field(targets, sources, costs), np.ones(len(targets), np.float32))
    assert np.abs(plane.values[inside] - expected).mean() < 35 * 0.45


def test_pixels_of_which_no_patch_is_likely_stay() -> None:
    plane, targets, inside = plane_with_hole()
    unlikely = plane.places(targets)[:, 0] > plane.places(inside)[:, 0].max() - 4
    costs = np.where(unlikely, 1e9, 0).astype(np.float32)
    costs[: len(costs) * 4 // 5] = np.minimum(costs[: len(costs) * 4 // 5], 1)
    vote(plane, inside, Field(targets, targets + np.int32(20), costs), np.ones(len(targets), np.float32))
    assert np.isfinite(plane.values).all()


def test_trust_falls_with_depth_and_then_no_more() -> None:
    weights = trust(np.array([0, 1, 10, 100, 1e6], np.float32))
    assert weights[0] == 1
    assert weights[0] > weights[1] > weights[2] > weights[3] == weights[4] > 0
