"""The paper's losses (section 3.3), each the mean over all elements of its tensors, and a structural term."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.partial_conv import composite
from sightline.training.inpaint.data import Batch

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
SSIM_SIGMA_PX, SSIM_RADIUS_PX = 1.5, 5


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms, by default the paper's for VGG-16; other backbones need other perceptual and style weights.

    `structural` is not in the paper: 1 - SSIM of the composite, which prevents blurred holes after a short training
    (Zhao et al., "Loss Functions for Image Restoration with Neural Networks", 2017).
    """

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    total_variation: float = 0.1
    structural: float = 0.0

    @property
    def needs_features(self) -> bool:
        return self.perceptual > 0 or self.style > 0


class Features(Protocol):
    """An ImageNet backbone cut into stages: (b, 3, h, w) sRGB in 0..1 to one feature map per stage."""

    def __call__(self, image: Tensor) -> list[Tensor]: ...


def inpainting_losses(
    predicted: Tensor, batch: Batch, weights: LossWeights, features: Features | None
) -> dict[str, Tensor]:
    """Weighted terms by name; their sum is the loss. `features` may be None if no term needs them."""
    image, valid = batch.image, batch.valid
    error = (predicted - image).abs()
    filled = composite(image, predicted, valid)
    losses = {
        "valid": weights.valid * (error * valid).mean(),
        "hole": weights.hole * (error * (1 - valid)).mean(),
        "total_variation": weights.total_variation * total_variation(filled, 1 - valid),
    }
    if weights.structural:
        losses["structural"] = weights.structural * (1 - mean_ssim(filled, image))
    if weights.needs_features:
        if features is None:
            raise ValueError("perceptual and style terms need a feature backbone")
        with torch.no_grad():
            real = features(image)
        losses |= feature_losses(real, [features(predicted), features(filled)], weights)
    return losses


def feature_losses(real: list[Tensor], fakes: Sequence[list[Tensor]], weights: LossWeights) -> dict[str, Tensor]:
    perceptual = [F.l1_loss(a.float(), b.float()) for fake in fakes for a, b in zip(fake, real, strict=True)]
    style = [F.l1_loss(gram(a), gram(b)) for fake in fakes for a, b in zip(fake, real, strict=True)]
    return {
        "perceptual": weights.perceptual * torch.stack(perceptual).sum(),
        "style": weights.style * torch.stack(style).sum(),
    }


def gram(features: Tensor) -> Tensor:
    """Channel correlations (b, c, c) over c*h*w; scaled before the product, so that half precision cannot overflow."""
    b, c, h, w = features.shape
    flat = features.float().reshape(b, c, h * w) / math.sqrt(c * h * w)
    return flat @ flat.transpose(1, 2)


def total_variation(filled: Tensor, hole: Tensor) -> Tensor:
    """L1 between neighbours that both lie in the hole dilated by one pixel (equation 6)."""
    region = F.max_pool2d(hole, 3, 1, 1)
    across = (filled[..., 1:] - filled[..., :-1]).abs() * region[..., 1:] * region[..., :-1]
    down = (filled[..., 1:, :] - filled[..., :-1, :]).abs() * region[..., 1:, :] * region[..., :-1, :]
    return across.mean() + down.mean()


def mean_ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) with a gaussian window of sigma 1.5, mean over positions and channels."""
    # In half precision the variances, differences of nearly equal numbers, would be noise.
    with torch.autocast(picture.device.type, enabled=False):
        similarity = _similarity(picture.float(), truth.float())
    return similarity.mean()


def _similarity(p: Tensor, t: Tensor) -> Tensor:
    mean_p, mean_t = _blur(p), _blur(t)
    var_p, var_t = _blur(p.square()) - mean_p.square(), _blur(t.square()) - mean_t.square()
    covariance = _blur(p * t) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + SSIM_C1) / (mean_p.square() + mean_t.square() + SSIM_C1)
    return luminance * (2 * covariance + SSIM_C2) / (var_p + var_t + SSIM_C2)


def _blur(values: Tensor) -> Tensor:
    offsets = torch.arange(-SSIM_RADIUS_PX, SSIM_RADIUS_PX + 1, device=values.device, dtype=values.dtype)
    window = F.softmax(-offsets.square() / (2 * SSIM_SIGMA_PX**2), 0)
    channels = values.shape[1]
    column = window.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    return F.conv2d(F.conv2d(values, column, groups=channels), column.transpose(2, 3), groups=channels)
