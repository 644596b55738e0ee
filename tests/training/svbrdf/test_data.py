import numpy as np
import pytest
import torch

from sightline.networks.svbrdf_net import TYPES
from sightline.training.data import Samples, batches
from sightline.training.svbrdf.data import (
    Batch,
    Photographed,
    linear_maps,
    mirrored,
    mixed,
    random_view,
    turned,
    varied,
)
from sightline.training.svbrdf.materials import FLAT, UNKNOWN, MaterialStore, TrainingMaterial


def dome(size: int = 101) -> TrainingMaterial:
    """Normals of a dome look away from its middle, and the red of its colour rises to the right."""
    y, x = (np.mgrid[:size, :size] - size // 2) / size
    normal = np.dstack([x, -y, np.ones_like(x)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    colour = np.dstack([128 + 200 * x, np.full_like(x, 90), np.full_like(x, 90)])
    maps = np.dstack([colour, np.rint(FLAT * (normal + 1)), np.full_like(x, 70)])
    return TrainingMaterial(np.clip(maps, 0, 255).astype(np.uint8), 0, 0.0)


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2, 2.5])
def test_normals_turn_with_their_crop(angle: float) -> None:
    """A dome is a dome however it is turned."""
    cut = turned(dome().maps, angle, (50.0, 50.0), 61)

    expected = linear_maps(dome().maps)[20:81, 20:81, 3:6]
    np.testing.assert_allclose(cut[..., 3:6], expected, atol=0.03)


def test_colours_turn_too() -> None:
    cut = turned(dome().maps, np.pi / 2, (50.0, 50.0), 61)

    assert np.ptp(cut[30, :, 0]) < 0.05 < np.ptp(cut[:, 30, 0])


def test_normals_are_mirrored_with_their_crop() -> None:
    straight = turned(dome().maps, 0.0, (50.0, 50.0), 61)

    np.testing.assert_allclose(mirrored(straight)[..., 3:6], straight[..., 3:6], atol=0.03)
    assert mirrored(straight)[30, 0, 0] > straight[30, 0, 0]


def test_views_have_unit_normals_and_lie_inside(generated: list[TrainingMaterial]) -> None:
    for seed, material in enumerate(generated):
        view = random_view(np.random.default_rng(seed), material, 40).maps
        assert view.shape == (40, 40, 7)
        np.testing.assert_allclose(np.linalg.norm(view[..., 3:6], axis=2), 1, atol=1e-4)
        assert view[..., [0, 1, 2, 6]].min() >= 0
        assert view[..., [0, 1, 2, 6]].max() <= 1


def test_mixture_blends_maps_and_takes_a_clear_majority_type(
    generated: list[TrainingMaterial],
) -> None:
    one, other = (random_view(np.random.default_rng(0), material, 40) for material in generated[:2])
    assert one.type != other.type

    clear, unclear = mixed(one, other, 0.8), mixed(one, other, 0.6)

    plain = [0, 1, 2, 6]
    np.testing.assert_allclose(
        clear.maps[..., plain], 0.8 * one.maps[..., plain] + 0.2 * other.maps[..., plain], atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(clear.maps[..., 3:6], axis=2), 1, atol=1e-4)
    assert clear.metallic == pytest.approx(0.8 * one.metallic + 0.2 * other.metallic)
    assert (clear.type, unclear.type) == (one.type, UNKNOWN)


def test_variation_keeps_maps_valid_and_the_original_untouched(generated: list[TrainingMaterial]) -> None:
    view = random_view(np.random.default_rng(0), generated[0], 40).maps
    before = view.copy()

    changed = varied(np.random.default_rng(1), view)

    assert np.array_equal(view, before)
    assert not np.allclose(changed[..., :3], view[..., :3])
    np.testing.assert_allclose(np.linalg.norm(changed[..., 3:6], axis=2), 1, atol=1e-4)


def test_batches_have_photos_places_maps_and_types(store: MaterialStore) -> None:
    samples = Samples(Photographed(store, 32), seed=0, start=0, step=1)

    batch = Batch.of(*next(batches(samples, 3, workers=0))).to(torch.device("cpu"))

    assert batch.photo.shape == (3, 3, 32, 32)
    assert 0 <= batch.photo.min() <= batch.photo.max() <= 1
    assert batch.coordinates.shape == (3, 2, 32, 32)
    assert batch.surface.albedo.shape == batch.surface.normal.shape == (3, 3, 32, 32)
    assert batch.surface.roughness.shape == (3, 1, 32, 32)
    assert batch.surface.metallic.shape == (3, 1, 1, 1)
    assert batch.type.dtype == torch.int64
    assert set(batch.type.tolist()) <= set(range(len(TYPES)))


def test_sample_is_a_function_of_its_number(store: MaterialStore) -> None:
    first, again = (Samples(Photographed(store, 32), seed=0, start=4, step=1)[0] for _ in range(2))

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
