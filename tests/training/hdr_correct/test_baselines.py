import numpy as np
import pytest

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.training.hdr_correct.baselines import BASELINES
from sightline.training.hdr_correct.cameras import SimulatedCamera
from sightline.training.metrics import psnr_db
from sightline.training.photos import Picture


@pytest.fixture
def dark(photo: Picture) -> Picture:
    return SimulatedCamera(ev=-3).shoot(decode_srgb(photo.astype(np.float32) / 255), np.random.default_rng(0))


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "identity"])
def test_dark_photo_becomes_brighter_at_the_same_size(name: str, dark: Picture) -> None:
    corrected = BASELINES[name](dark)

    assert corrected.shape == dark.shape
    assert corrected.dtype == np.uint8
    assert corrected.mean() > dark.mean()


def test_identity_changes_nothing(dark: Picture) -> None:
    assert psnr_db(BASELINES["identity"](dark), dark) == float("inf")


def test_gamma_brings_the_mean_to_the_middle(dark: Picture) -> None:
    assert BASELINES["gamma_to_mean"](dark).mean() > 90
    assert BASELINES["gamma_to_mean"](np.zeros((4, 4, 3), np.uint8)).max() == 0
