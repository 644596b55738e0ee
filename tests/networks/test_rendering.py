import math

import pytest
import torch
from torch import Tensor

from sightline.networks.rendering import Surface, dot, microfacets, plane_points, reflectance, render, schlick
from sightline.networks.svbrdf_net import unit


def surface(
    albedo: float = 0.5,
    roughness: float = 0.5,
    metallic: float = 0.0,
    normal: tuple[float, float, float] = (0, 0, 1),
    size: int = 1,
) -> Surface:
    shape = (1, 1, size, size)
    return Surface(
        torch.full((1, 3, size, size), albedo),
        torch.tensor(normal).view(1, 3, 1, 1).expand(1, 3, size, size),
        torch.full(shape, roughness),
        torch.full((1, 1, 1, 1), metallic),
    )


def grid(size: int, reach: float = 0.5) -> Tensor:
    across = torch.linspace(-reach, reach, size)
    return plane_points(torch.stack([across.expand(size, size), -across[:, None].expand(size, size)])[None])


def directions(count: int, seed: int = 0) -> Tensor:
    """(count, 3, 1, 1), on the upper hemisphere and not quite grazing."""
    vectors = torch.randn(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    vectors[:, 2] = vectors[:, 2].abs() + 0.2
    return unit(vectors)


def test_render_at_normal_incidence_equals_hand_computation() -> None:
    """r = 0.5: alpha^2 = 1/16, D = 16/pi, G = 1, F = 0.05 + 0.95 * 2^-12.53788, so D F G / 4 = 0.063850."""
    radiance = render(surface(), grid(1, 0), torch.zeros(1, 3))

    fresnel = 0.05 + 0.95 * 2 ** (-5.55472 - 6.98316)
    assert float(radiance[0, 0]) == pytest.approx(0.5 + math.pi * fresnel * 16 / math.pi / 4, rel=1e-5)


def test_render_off_axis_equals_hand_computation() -> None:
    """l and v 45 degrees to either side of n, r = 0.4."""
    cosine, r = math.sqrt(0.5), 0.4
    view, light = (torch.tensor([side * cosine, 0, cosine]).view(1, 3, 1, 1) for side in (1, -1))
    k = (r + 1) ** 2 / 8
    masked = cosine / (cosine * (1 - k) + k)
    d = 1 / (math.pi * r**4)
    f = 0.05 + 0.95 * 2 ** ((-5.55472 * cosine - 6.98316) * cosine)

    value = reflectance(surface(albedo=0.3, roughness=r), view, light)

    assert float(value[0, 0]) == pytest.approx(0.3 / math.pi + d * f * masked**2 / (4 * cosine**2), rel=1e-4)


@pytest.mark.parametrize("roughness", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_reflectance_is_reciprocal(roughness: float, metallic: float) -> None:
    view, light = directions(50, 1), directions(50, 2)
    material = surface(roughness=roughness, metallic=metallic)

    torch.testing.assert_close(reflectance(material, view, light), reflectance(material, light, view))


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("tilt", [0.0, 0.9])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_reflectance_conserves_energy(roughness: float, tilt: float, metallic: float) -> None:
    """The integral of f * cos over all directions of the light, by the midpoint rule."""
    steps = 200
    cosines = (torch.arange(steps) + 0.5) / steps
    angles = 2 * math.pi * (torch.arange(2 * steps) + 0.5) / (2 * steps)
    z, phi = (each.reshape(-1) for each in torch.meshgrid(cosines, angles, indexing="ij"))
    across = torch.sqrt(1 - z**2)
    light = torch.stack([across * phi.cos(), across * phi.sin(), z], 1)[..., None, None]
    view = torch.tensor([math.sin(tilt), 0, math.cos(tilt)]).view(1, 3, 1, 1)

    value = reflectance(surface(albedo=0.9, roughness=roughness, metallic=metallic), view, light)

    assert 0.2 < float((value[:, 0, 0, 0] * z).mean() * 2 * math.pi) < 1.02


def test_microfacets_of_a_rough_surface_are_uniform() -> None:
    one = torch.ones(1, 1, 1, 1)
    values = [microfacets(one, cosine * one, one, one) for cosine in (1.0, 0.5)]

    torch.testing.assert_close(*values)


def test_metals_reflect_their_base_colour_alone() -> None:
    black, gold = (surface(albedo=value, metallic=1, roughness=0.5) for value in (0.0, 0.8))
    light = torch.zeros(1, 3)

    ratio = render(gold, grid(1, 0), light) / render(black, grid(1, 0), light).clamp_min(1e-9)

    assert float(ratio[0, 0]) > 1000
    assert float(schlick(torch.zeros(()))) == 1


def test_radiance_falls_with_the_square_of_the_distance() -> None:
    near, far = (render(surface(), grid(1, 0), torch.tensor([[0, 0, z]])) for z in (0.0, 1.0))

    torch.testing.assert_close(near, 4 * far)


def test_highlight_follows_the_light_and_the_normal() -> None:
    points = grid(65)
    shiny = surface(albedo=0.0, roughness=0.25, size=65)

    middle, right = (render(shiny, points, torch.tensor([[x, 0, 0]]))[0, 0] for x in (0.0, 0.4))

    assert divmod(int(middle.argmax()), 65) == (32, 32)
    row, column = divmod(int(right.argmax()), 65)
    assert row == 32
    assert column == pytest.approx(32 + 0.2 * 64, abs=2)
    raised = surface(albedo=0.0, roughness=0.25, normal=(0, 0.1, 0.995), size=65)
    row, column = divmod(int(render(raised, points, torch.zeros(1, 3))[0, 0].argmax()), 65)
    assert row > 34
    assert column == 32


def test_surface_that_faces_away_is_dark() -> None:
    assert render(surface(), grid(3), torch.tensor([[0, 0, -2.0]])).abs().max() == 0


def test_gradients_are_correct_and_finite() -> None:
    generator = torch.Generator().manual_seed(3)
    albedo, roughness = (torch.rand(1, c, 2, 2, generator=generator, dtype=torch.float64) for c in (3, 1))
    albedo, roughness = (0.1 + 0.8 * each for each in (albedo, roughness))
    raw = torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64) + 0.5
    light = torch.tensor([[0.2, 0.1, 0.3]], dtype=torch.float64)
    points, metallic = grid(2).double(), torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)

    def shade(albedo: Tensor, raw: Tensor, roughness: Tensor) -> Tensor:
        return render(Surface(albedo, unit(raw), roughness, metallic), points, light)

    inputs = tuple(each.requires_grad_() for each in (albedo, raw, roughness))
    assert torch.autograd.gradcheck(shade, inputs)
    extreme = torch.zeros(1, 1, 2, 2, requires_grad=True)
    render(
        Surface(torch.zeros(1, 3, 2, 2), unit(raw.float()), extreme, metallic.float()), grid(2), light.float()
    ).sum().backward()
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


def test_dot_keeps_a_channel() -> None:
    assert dot(torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4, 5)).shape == (2, 1, 4, 5)
