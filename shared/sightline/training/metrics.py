"""Quality measures of pictures, (h, w, 3) uint8 sRGB, and of HDR scenes in linear light."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import piq
import torch
from numpy.typing import NDArray
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


def fsim(picture: Picture, truth: Picture) -> float:
    """Feature similarity with chroma, FSIMc (Zhang et al. 2011): 1 for equal pictures."""
    both = (torch.from_numpy(each.copy()).permute(2, 0, 1)[None].float() / 255 for each in (picture, truth))
    return float(piq.fsim(*both, data_range=1.0, chromatic=True))


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


MIN_NITS, MAX_NITS = 0.005, 10_000.0
BANDING_GLARE = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
PEAK = 256.0
"""PU21 of 100 cd/m2, the white of an ordinary display: the peak of its authors' PSNR."""


def pu21_psnr_db(light: NDArray[Any], truth: NDArray[Any], *, white_nits: float = 100.0) -> float:
    """PSNR in dB of linear light, 1 = shown at `white_nits` (cd/m2); infinite when equal."""
    difference = pu21(white_nits * light) - pu21(white_nits * truth)
    mse = float(np.mean(difference**2))
    return float("inf") if mse == 0 else float(10 * np.log10(PEAK**2 / mse))


def pu21(nits: NDArray[Any]) -> NDArray[np.float64]:
    """Perceptually uniform encoding with its fit to banding and glare (Mantiuk and Azimi, "PU21", PCS 2021).

    Implemented here, as no Python package has it.
    """
    a, b, c, d, e, f, g = BANDING_GLARE
    power = np.clip(np.asarray(nits, np.float64), MIN_NITS, MAX_NITS) ** d
    return np.asarray(g * (((a + b * power) / (1 + c * power)) ** e - f), np.float64)
