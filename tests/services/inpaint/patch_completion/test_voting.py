import numpy as np

from services.inpaint.patch_completion.descriptors import Centres, PaddedImage, centres_of, pad
from services.inpaint.patch_completion.index import NearestNeighbourField
from services.inpaint.patch_completion.voting import confidence, vote


def plane_with_hole() -> tuple[PaddedImage, Centres, Centres]:
    values = np.tile(np.arange(60, dtype=np.float32)[:, None], (40, 1, 3)).reshape(40, 60, 3)
    hole = np.zeros((40, 60), bool)
    hole[15:20, 20:25] = True
    values[hole] = 255
    near = np.zeros((40, 60), bool)
    near[12:23, 17:28] = True
    return pad(values), centres_of(near), centres_of(hole)


def test_vote_copies_where_all_patches_agree() -> None:
    padded, targets, inside = plane_with_hole()
    before = padded.values.copy()
    field = NearestNeighbourField(targets, targets + np.int32(20), np.zeros(len(targets), np.float32))
    vote(padded, inside, field, np.ones(len(targets), np.float32))
    assert np.allclose(padded.values[inside], before[inside + 20])
    rest = np.setdiff1d(np.arange(len(before)), inside)
    assert np.array_equal(padded.values[rest], before[rest])


def test_vote_weighs_likelier_patches_more() -> None:
    padded, targets, inside = plane_with_hole()
    near = targets % 2 == 0
    sources = np.where(near, targets + 20, targets - 15).astype(np.int32)
    costs = np.where(near, 0, 50).astype(np.float32)
    expected = padded.values[inside + 20]
    vote(padded, inside, NearestNeighbourField(targets, sources, costs), np.ones(len(targets), np.float32))
    assert np.abs(padded.values[inside] - expected).mean() < 35 * 0.45


def test_vote_keeps_pixels_without_a_likely_patch() -> None:
    padded, targets, inside = plane_with_hole()
    unlikely = padded.coordinates(targets)[:, 0] > padded.coordinates(inside)[:, 0].max() - 4
    costs = np.where(unlikely, 1e9, 0).astype(np.float32)
    costs[: len(costs) * 4 // 5] = np.minimum(costs[: len(costs) * 4 // 5], 1)
    vote(
        padded, inside, NearestNeighbourField(targets, targets + np.int32(20), costs), np.ones(len(targets), np.float32)
    )
    assert np.isfinite(padded.values).all()


def test_confidence_falls_with_depth_up_to_a_maximum() -> None:
    weights = confidence(np.array([0, 1, 10, 100, 1e6], np.float32))
    assert weights[0] == 1
    assert weights[0] > weights[1] > weights[2] > weights[3] == weights[4] > 0
