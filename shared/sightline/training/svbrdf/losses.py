"""Losses of predicted maps: against the true maps, of renders under other lights, and of the material type."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.rendering import Surface, log_radiance, plane_points, render
from sightline.networks.svbrdf_net import Svbrdf
from sightline.training.svbrdf.data import Batch
from sightline.training.svbrdf.materials import UNKNOWN

MIN_ALBEDO = 0.01
MIN_CHORD = 1e-3  # below it the gradient fades, which else has no limit
LOWEST_LIGHT = 0.15


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights that bring the terms to similar sizes. The paper's are not published."""

    albedo: float = 1.0
    normal: float = 1.0
    angle: float = 0.1
    roughness: float = 0.5
    rendering: float = 0.1
    type: float = 0.02


def svbrdf_losses(
    result: Svbrdf, batch: Batch, weights: LossWeights, *, novel_lights: bool = True
) -> dict[str, Tensor]:
    """Weighted terms by name; their sum is the loss."""
    truth = batch.surface
    return {
        "albedo": weights.albedo * F.mse_loss(encoded(result.albedo), encoded(truth.albedo)),
        "normal": weights.normal * F.mse_loss(result.normal, truth.normal),
        "angle": weights.angle * mean_chord(result.normal, truth.normal),
        "roughness": weights.roughness * F.mse_loss(result.roughness, truth.roughness),
        "rendering": weights.rendering * rendering_loss(result, batch, novel_lights=novel_lights),
        "type": weights.type * type_loss(result.logits, batch.type),
    }


def encoded(albedo: Tensor) -> Tensor:
    """Albedo on a perceptual scale, so that dark materials count too."""
    return torch.sqrt(albedo + MIN_ALBEDO)


def mean_chord(one: Tensor, other: Tensor) -> Tensor:
    """Mean distance of unit vectors, for small angles the angle; squared errors alone leave flat surfaces bumpy."""
    squares = ((one - other) ** 2).sum(1)
    return (torch.sqrt(squares + MIN_CHORD**2) - MIN_CHORD).mean()


def rendering_loss(result: Svbrdf, batch: Batch, *, novel_lights: bool) -> Tensor:
    """Squared error of renders of both surfaces on a logarithmic scale, under a random light or one at the camera."""
    points = plane_points(batch.coordinates)
    at_camera = torch.zeros_like(points[:, :, 0, 0])
    light = random_lights(points) if novel_lights else at_camera
    predicted = Surface(result.albedo, result.normal, result.roughness, batch.surface.metallic)
    return F.mse_loss(
        log_radiance(render(predicted, points, light)), log_radiance(render(batch.surface, points, light))
    )


def random_lights(points: Tensor) -> Tensor:
    """Positions (b, 3) of a light for each surface, cosine-weighted over the hemisphere about its middle, at distance
    1."""
    count = points.shape[0]
    azimuth = 2 * torch.pi * torch.rand(count, device=points.device)
    across = torch.sqrt(torch.rand(count, device=points.device))
    up = torch.sqrt(1 - across**2).clamp_min(LOWEST_LIGHT)
    direction = torch.stack([across * azimuth.cos(), across * azimuth.sin(), up], 1)
    return points.mean((2, 3)) + direction


def type_loss(logits: Tensor, types: Tensor) -> Tensor:
    """Cross-entropy over materials of known type. Samples are balanced over types instead of the paper's weights by
    frequency."""
    if logits.shape[1] == 1:
        return torch.zeros((), device=logits.device)
    total = F.cross_entropy(logits, types, ignore_index=UNKNOWN, reduction="sum")
    return total / (types != UNKNOWN).sum().clamp_min(1)
