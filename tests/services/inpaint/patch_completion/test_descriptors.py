import numpy as np

from services.inpaint.patch_completion.descriptors import (
    CHUNK_PATCHES,
    PATCH_RADIUS_PX,
    PATCH_SIDE_PX,
    PatchDescriptor,
    centres_of,
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


def test_descriptors_keep_the_distances_of_a_simple_image() -> None:
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    padded = pad(np.dstack([rows, columns, rows + columns]))
    centres = centres_of(np.ones((40, 50), bool))
    described = PatchDescriptor.fit(padded, centres).describe(padded, centres)
    patches = padded.patches(centres).reshape(len(centres), -1)
    for first, second in ((0, 1999), (300, 310), (700, 1200)):
        expected = ((patches[first] - patches[second]) ** 2).mean()
        assert np.isclose(((described[first] - described[second]) ** 2).sum(), expected, rtol=0.01, atol=0.1)


def test_chunked_descriptors_equal_single_ones() -> None:
    padded = pad(np.random.default_rng(2).random((150, 150, 3), np.float32))
    centres = centres_of(np.ones((150, 150), bool))
    descriptor = PatchDescriptor.fit(padded, centres)
    described = descriptor.describe(padded, centres)
    assert len(described) == 150 * 150 > CHUNK_PATCHES
    assert np.allclose(described[-7:], descriptor.describe(padded, centres[-7:]), atol=1e-5)
