import numpy as np
import pytest

from sightline.imaging.surfaces.camera import camera_for
from sightline.imaging.surfaces.maps import Maps
from sightline.imaging.surfaces.selfcheck import rerender, rerender_rmse

CAMERA = camera_for(64, 48, 60)


def maps(roughness: float, tone: float = 0.4) -> Maps:
    normal = np.zeros((48, 64, 3), np.float32)
    normal[..., 2] = 1
    return Maps(np.full((48, 64, 3), tone, np.float32), normal, np.full((48, 64), roughness, np.float32), 0.0)


@pytest.mark.parametrize("exposure", [0.3, 1.0, 1.6])
def test_true_maps_explain_their_photo_in_any_exposure(exposure: float) -> None:
    photo = np.clip(exposure * rerender(maps(0.5), CAMERA), 0, 1)

    assert rerender_rmse(maps(0.5), photo, CAMERA) < 1e-3
    assert rerender_rmse(maps(0.2), photo, CAMERA) > 0.01


def test_a_photo_that_is_clipped_all_over_says_something_finite() -> None:
    assert np.isfinite(rerender_rmse(maps(0.5), np.ones((48, 64, 3), np.float32), CAMERA))
    assert rerender_rmse(maps(0.5, tone=0.0), np.zeros((48, 64, 3), np.float32), CAMERA) < 0.01
