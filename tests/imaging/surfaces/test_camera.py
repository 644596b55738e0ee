import numpy as np
import pytest

from sightline.imaging.surfaces.camera import camera_for
from sightline.training.svbrdf.flash import whole_window


def test_the_angle_is_across_the_longer_side() -> None:
    wide, high = camera_for(400, 200, 90), camera_for(200, 400, 90)

    assert [wide.half_width, wide.half_height] == pytest.approx([1, 0.5])
    assert [high.half_width, high.half_height] == pytest.approx([0.5, 1])


def test_coordinates_are_those_the_network_was_trained_with() -> None:
    ours = camera_for(64, 64, 60).coordinates(64, 64)

    np.testing.assert_allclose(ours.transpose(2, 0, 1), whole_window(60).coordinates(64, 64), atol=1e-6)


def test_rows_are_part_of_the_whole_and_points_lie_on_the_plane() -> None:
    camera = camera_for(30, 20, 70)

    np.testing.assert_array_equal(camera.coordinates(20, 30, slice(5, 9)), camera.coordinates(20, 30)[5:9])
    points = camera.points(20, 30)
    assert points.shape == (20, 30, 3)
    assert (points[..., 2] == -1).all()
    np.testing.assert_array_equal(points[..., :2], camera.coordinates(20, 30))
