import numpy as np

from services.inpaint.patch_completion.descriptors import (
    PATCH_RADIUS_PX,
    PATCH_SIDE_PX,
    centres_of,
    describe,
    pad,
)


def test_pad_mirrors_the_border_and_unpad_removes_it() -> None:
    values = np.random.default_rng(0).random((5, 9, 3), np.float32)
    padded = pad(values)
    whole = padded.values.reshape(padded.height, padded.width, 3)
    assert np.array_equal(padded.unpad(), values)
    assert np.array_equal(whole[PATCH_RADIUS_PX - 1, PATCH_RADIUS_PX:-PATCH_RADIUS_PX], values[0])


def test_patches_are_squares_around_their_centres() -> None:
    values = np.random.default_rng(1).random((20, 30, 5), np.float32)
    flags = np.zeros((20, 30), bool)
    flags[8, 11] = True
    found = pad(values).patches(centres_of(flags)).reshape(PATCH_SIDE_PX, PATCH_SIDE_PX, 5)
    assert np.array_equal(found, values[8 - 3 : 8 + 4, 11 - 3 : 11 + 4])


def test_descriptors_keep_the_distances_of_smooth_patches() -> None:
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    values = np.dstack([rows, columns, rows + columns])
    padded, described = pad(values), describe(values)
    for first, second in (((5, 5), (30, 40)), ((10, 10), (10, 20)), ((20, 7), (31, 9))):
        one, other = (padded.patches(centres_of(_only(at))).ravel() for at in (first, second))
        expected = ((one - other) ** 2).mean()
        assert np.isclose(((described[first] - described[second]) ** 2).sum(), expected, rtol=0.01)


def test_descriptors_never_exceed_the_distances_of_patches() -> None:
    values = np.random.default_rng(2).random((30, 30, 3), np.float32)
    padded, described = pad(values), describe(values)
    one, other = (padded.patches(centres_of(_only(at))).ravel() for at in ((8, 9), (20, 17)))
    assert 0 < ((described[8, 9] - described[20, 17]) ** 2).sum() < ((one - other) ** 2).mean()


def _only(at: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    flags = np.zeros((40, 50), bool)
    flags[at] = True
    return flags[:30, :30] if max(at) < 30 and at in ((8, 9), (20, 17)) else flags
