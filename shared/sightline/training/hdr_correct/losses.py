"""The joint loss over both halves."""

from dataclasses import dataclass

from torch import Tensor

from sightline.networks.drht import Corrected
from sightline.training.hdr_correct.data import Batch
from sightline.training.inpaint.losses import mean_ssim


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms; those of the paper are not published.

    The scene's squared error is small because most of its values lie below 0.25. `structural`, 1 - SSIM, is not in the
    paper.
    """

    scene: float = 10.0
    photo: float = 1.0
    structural: float = 0.1


def correction_losses(corrected: Corrected, batch: Batch, weights: LossWeights) -> dict[str, Tensor]:
    """Weighted terms by name; their sum is the loss."""
    squared = (corrected.compressed - batch.compressed).square() * batch.known
    return {
        "scene": weights.scene * squared.mean(),
        "photo": weights.photo * (corrected.photo - batch.target).abs().mean(),
        "structural": weights.structural * (1 - mean_ssim(corrected.photo, batch.target)),
    }
