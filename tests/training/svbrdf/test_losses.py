import math

import pytest
import torch
from torch import Tensor

from sightline.networks.rendering import Surface, plane_points
from sightline.networks.svbrdf_net import TYPES, Svbrdf
from sightline.training.svbrdf.data import Batch
from sightline.training.svbrdf.losses import (
    LossWeights,
    mean_chord,
    random_lights,
    rendering_loss,
    svbrdf_losses,
    type_loss,
)


def batch(roughness: float = 0.4) -> Batch:
    normal = torch.zeros(2, 3, 8, 8)
    normal[:, 2] = 1
    across = torch.linspace(-0.5, 0.5, 8)
    coordinates = torch.stack([across.expand(8, 8), -across[:, None].expand(8, 8)]).expand(2, 2, 8, 8)
    surface = Surface(
        torch.full((2, 3, 8, 8), 0.3), normal, torch.full((2, 1, 8, 8), roughness), torch.zeros(2, 1, 1, 1)
    )
    return Batch(torch.rand(2, 3, 8, 8), coordinates, surface, torch.tensor([1, -1]))


def predicted(surface: Surface, logits: Tensor | None = None) -> Svbrdf:
    scores = torch.zeros(2, len(TYPES)) if logits is None else logits
    return Svbrdf(surface.albedo, surface.normal, surface.roughness, scores)


def test_losses_of_the_truth_are_zero() -> None:
    known = batch()
    sure = torch.full((2, len(TYPES)), -50.0)
    sure[:, 1] = 50

    losses = svbrdf_losses(predicted(known.surface, sure), known, LossWeights())

    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(dict.fromkeys(losses, 0.0), abs=1e-6)


def test_each_map_is_held_to_its_truth() -> None:
    known, wrong = batch(), batch(roughness=0.8)

    losses = svbrdf_losses(predicted(wrong.surface), known, LossWeights(roughness=2.0))

    assert float(losses["roughness"]) == pytest.approx(2 * 0.16, rel=1e-4)
    assert float(losses["albedo"]) == 0
    assert float(losses["rendering"]) > 0


def test_chord_of_unit_vectors_is_about_their_angle() -> None:
    one, other = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    one[:, 2], other[:, 0], other[:, 2] = 1, math.sin(0.1), math.cos(0.1)

    assert float(mean_chord(one, other)) == pytest.approx(0.1, rel=0.02)
    assert float(mean_chord(one, one)) == 0


def test_wrong_roughness_shows_more_under_novel_lights_than_no_light_would() -> None:
    torch.manual_seed(0)
    known, wrong = batch(), predicted(batch(roughness=0.9).surface)

    novel = [float(rendering_loss(wrong, known, novel_lights=True)) for _ in range(3)]
    at_camera = [float(rendering_loss(wrong, known, novel_lights=False)) for _ in range(3)]

    assert len(set(novel)) == 3
    assert len(set(at_camera)) == 1
    assert min(novel + at_camera) > 0


def test_lights_are_above_the_middle_of_the_surface() -> None:
    points = plane_points(batch().coordinates).expand(2, 3, 8, 8).repeat(200, 1, 1, 1)

    lights = random_lights(points)

    middle = torch.tensor([0, 0, -1.0])
    distance = (lights - middle).norm(dim=1)
    assert lights[:, 2].min() > -1
    assert distance.min() > 0.95
    assert distance.max() < 1.05
    assert lights[:, 0].min() < -0.3 < 0.3 < lights[:, 0].max()


def test_materials_of_unknown_type_teach_no_type() -> None:
    logits = torch.zeros(2, len(TYPES), requires_grad=True)

    type_loss(logits, torch.tensor([2, -1])).backward()

    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0
    assert float(type_loss(logits.detach(), torch.tensor([-1, -1]))) == 0
    assert float(type_loss(torch.zeros(2, 1), torch.tensor([0, 3]))) == 0
