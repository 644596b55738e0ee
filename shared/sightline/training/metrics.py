"""Picture quality measures on (h, w, 3) uint8 sRGB."""

from dataclasses import dataclass

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.backbones import StagedFeatures
from sightline.training.photos import Picture


def psnr_db(picture: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio over all pixels and channels, in dB; infinite when they are equal."""
    mse = float(np.mean((picture.astype(np.float64) - truth.astype(np.float64)) ** 2))
    return float("inf") if mse == 0 else float(10 * np.log10(255**2 / mse))


def ssim(picture: Picture, truth: Picture) -> float:
    """Structural similarity (Wang et al. 2004): gaussian window of sigma 1.5, mean over the three channels."""
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            picture, truth, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


@dataclass(frozen=True, slots=True)
class PerceptualDistance:
    """LPIPS without its learned weights (Zhang et al. 2018): 0 for equal pictures, lower is closer.

    Squared distance of the unit-length feature vectors, averaged over positions and summed over the stages. Not
    comparable with published LPIPS, which has another backbone and learned weights.
    """

    features: StagedFeatures

    def __call__(self, picture: Picture, truth: Picture) -> float:
        both = torch.from_numpy(np.stack([picture, truth])).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return float(sum(_stage_distance(stage) for stage in self.features(both)))


def _stage_distance(stage: Tensor) -> Tensor:
    unit = F.normalize(stage, dim=1)
    return (unit[0] - unit[1]).square().sum(0).mean()
