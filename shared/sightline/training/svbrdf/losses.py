"""Losses of the predicted maps: against the true maps, under other lights, and of the material's type."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.rendering import Surface, plane_points, render, tame
from sightline.networks.svbrdf_net import Svbrdf
from sightline.training.svbrdf.data import Batch
from sightline.training.svbrdf.materials import UNKNOWN

FAINTEST = 0.01
SHORTEST_CHORD = 1e-3  # below it the gradient fades, which else has no limit
LOWEST_LIGHT = 0.15


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The paper's weights are known from hearsay alone, and for other ranges; these bring the terms to one size."""

    albedo: float = 1.0
    normal: float = 1.0
    angle: float = 0.1
    roughness: float = 0.5
    rendering: float = 0.1
    type: float = 0.02


def svbrdf_losses(
    result: Svbrdf, batch: Batch, weights: LossWeights, *, novel_lights: bool = True
) -> dict[str, Tensor]:
    """Each term with its weight applied, by name; their sum is the loss."""
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
    """About as the eye sees it, so that dark materials count too."""
    return torch.sqrt(albedo + FAINTEST)


def mean_chord(one: Tensor, other: Tensor) -> Tensor:
    """Mean distance of unit vectors, which for small angles is the angle: squares alone leave flat surfaces bumpy."""
    squares = ((one - other) ** 2).sum(1)
    return (torch.sqrt(squares + SHORTEST_CHORD**2) - SHORTEST_CHORD).mean()


def rendering_loss(result: Svbrdf, batch: Batch, *, novel_lights: bool) -> Tensor:
    """Both surfaces under one light, anywhere above them or at the camera; on a logarithmic scale."""
    points = plane_points(batch.coordinates)
    at_camera = torch.zeros_like(points[:, :, 0, 0])
    light = random_lights(points) if novel_lights else at_camera
    predicted = Surface(result.albedo, result.normal, result.roughness, batch.surface.metallic)
    return F.mse_loss(tame(render(predicted, points, light)), tame(render(batch.surface, points, light)))


def random_lights(points: Tensor) -> Tensor:
    """(b, 3): one for each surface, cosine-weighted over the hemisphere about its middle, at distance 1."""
    count = points.shape[0]
    azimuth = 2 * torch.pi * torch.rand(count, device=points.device)
    across = torch.sqrt(torch.rand(count, device=points.device))
    up = torch.sqrt(1 - across**2).clamp_min(LOWEST_LIGHT)
    direction = torch.stack([across * azimuth.cos(), across * azimuth.sin(), up], 1)
    return points.mean((2, 3)) + direction


def type_loss(logits: Tensor, types: Tensor) -> Tensor:
    """Cross-entropy over the materials whose type is known. Samples are drawn with the types equally often, which
    stands for the paper's weights by frequency."""
    if logits.shape[1] == 1:
        return torch.zeros((), device=logits.device)
    total = F.cross_entropy(logits, types, ignore_index=UNKNOWN, reduction="sum")
    return total / (types != UNKNOWN).sum().clamp_min(1)
