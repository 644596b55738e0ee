"""Endless materials of every type, each a function of its number."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from sightline.networks.svbrdf_net import TYPES
from sightline.training.svbrdf.materials import TrainingMaterial
from sightline.training.svbrdf.procedural import hard, soft
from sightline.training.svbrdf.procedural.drafts import Draft
from sightline.training.svbrdf.procedural.noise import Rng

Recipe = Callable[[Rng, int], Draft]

RECIPES: Mapping[str, Sequence[Recipe]] = {
    "fabric": (soft.woven, soft.woven, soft.knitted, soft.felt),
    "ground": (hard.soil, hard.gravel, hard.grass),
    "leather": (soft.grained_leather, soft.grained_leather, soft.quilted_leather),
    "metal": (hard.brushed_metal, hard.formed_metal),
    "polymer": (soft.smooth_polymer, soft.embossed_polymer),
    "stone_diffuse": (hard.masonry, hard.concrete, hard.cobbles),
    "stone_specular": (hard.marble, hard.granite, hard.glazed_tiles),
    "wood": (hard.planks, hard.veneer),
}


def generate(number: int, size_px: int, *, seed: int = 0) -> TrainingMaterial:
    """A generated material. Types alternate, so that all are equally frequent."""
    rng = np.random.default_rng((seed, number))
    kind = TYPES[number % len(TYPES)]
    recipes = RECIPES[kind]
    recipe = recipes[number // len(TYPES) % len(recipes)]
    draft = recipe(rng, size_px)
    return TrainingMaterial(
        draft.maps(), TYPES.index(kind), draft.metallic, f"{recipe.__name__}_{number}", generated=True
    )


def generate_many(count: int, size_px: int, *, seed: int = 0) -> Iterator[TrainingMaterial]:
    return (generate(number, size_px, seed=seed) for number in range(count))
