import numpy as np

from services.inpaint.patches import AT_ONCE, RADIUS_PX, SIDE_PX, border, spots_of, train


def test_border_mirrors_and_inner_takes_it_off() -> None:
    values = np.random.default_rng(0).random((5, 9, 3), np.float32)
    plane = border(values)
    whole = plane.values.reshape(plane.height, plane.width, 3)
    assert np.array_equal(plane.inner(), values)
    assert np.array_equal(whole[RADIUS_PX - 1, RADIUS_PX:-RADIUS_PX], values[0])


def test_patches_are_the_squares_around_their_centres() -> None:
    values = np.random.default_rng(1).random((20, 30, 5), np.float32)
    flags = np.zeros((20, 30), bool)
    flags[8, 11] = True
    found = border(values).patches(spots_of(flags)).reshape(SIDE_PX, SIDE_PX, 5)
    assert np.array_equal(found, values[8 - 3 : 8 + 4, 11 - 3 : 11 + 4])


def test_looks_of_a_simple_picture_keep_its_distances() -> None:
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    plane = border(np.dstack([rows, columns, rows + columns]))
    spots = spots_of(np.ones((40, 50), bool))
    looks = train(plane, spots).look(plane, spots)
    patches = plane.patches(spots).reshape(len(spots), -1)
    for first, second in ((0, 1999), (300, 310), (700, 1200)):
        expected = ((patches[first] - patches[second]) ** 2).mean()
        assert np.isclose(((looks[first] - looks[second]) ** 2).sum(), expected, rtol=0.01, atol=0.1)


def test_many_patches_look_as_each_does() -> None:
    plane = border(np.random.default_rng(2).random((150, 150, 3), np.float32))
    spots = spots_of(np.ones((150, 150), bool))
    eye = train(plane, spots)
    looks = eye.look(plane, spots)
    assert len(looks) == 150 * 150 > AT_ONCE
    assert np.allclose(looks[-7:], eye.look(plane, spots[-7:]), atol=1e-5)
