import numpy as np
import pytest

from sightline.networks.svbrdf_net import METAL, TYPES
from sightline.training.svbrdf.materials import FLAT, TrainingMaterial
from sightline.training.svbrdf.procedural.generator import RECIPES, generate

RECIPE_COUNT = 4 * len(TYPES)


@pytest.fixture(scope="module")
def materials() -> list[TrainingMaterial]:
    """Every recipe at least once."""
    return [generate(number, 80) for number in range(RECIPE_COUNT)]


def test_types_take_turns_and_every_recipe_is_used(materials: list[TrainingMaterial]) -> None:
    assert np.bincount([material.type for material in materials]).tolist() == [4] * len(TYPES)
    used = {material.name.rsplit("_", 1)[0] for material in materials}
    assert used == {recipe.__name__ for recipes in RECIPES.values() for recipe in recipes}


def test_maps_are_plausible(materials: list[TrainingMaterial]) -> None:
    for material in materials:
        normal = material.normal / FLAT - 1
        assert material.maps.shape == (80, 80, 7), material.name
        assert np.abs(np.linalg.norm(normal, axis=2) - 1).max() < 0.03, material.name
        assert np.abs(normal[..., :2].mean(axis=(0, 1))).max() < 0.1, material.name
        assert 10 < material.roughness.mean() <= 255, material.name
        assert material.albedo.max() > 10, material.name


def test_only_metals_are_metallic(materials: list[TrainingMaterial]) -> None:
    assert all((material.metallic > 0) == (material.type == METAL) for material in materials)


def test_generated_material_depends_on_number_and_seed() -> None:
    assert np.array_equal(generate(5, 64).maps, generate(5, 64).maps)
    assert not np.array_equal(generate(5, 64).maps, generate(5, 64, seed=1).maps)
    assert not np.array_equal(generate(5, 64).maps, generate(5 + 8 * len(RECIPES["wood"]), 64).maps)
