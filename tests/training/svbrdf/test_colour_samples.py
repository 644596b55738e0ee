from itertools import islice

import numpy as np

from sightline.training.svbrdf.colour_samples import draw_samples, draw_surface, photograph, random_mask
from sightline.training.svbrdf.flash import whole_window
from sightline.training.svbrdf.materials import MaterialStore
from tests.training.svbrdf.test_base_colour import grey


def test_some_surfaces_are_metal_in_parts(store: MaterialStore) -> None:
    rng = np.random.default_rng(1)
    spans = [float(np.ptp(draw_surface(rng, store).metallic)) for _ in range(12)]

    assert any(each > 0.5 for each in spans)
    assert any(each == 0 for each in spans)


def test_bright_surfaces_give_brighter_photos(store: MaterialStore) -> None:
    coordinates, means = whole_window(60.0).coordinates(256, 256), []
    surface = draw_surface(np.random.default_rng(2), store)
    for share in (0.1, 1.0):
        dimmed = surface.maps.copy()
        dimmed[..., :3] = share * 0.8
        object.__setattr__(surface, "maps", dimmed)
        means.append(float(photograph(np.random.default_rng(3), surface, coordinates).mean()))

    assert means[0] < 0.9 * means[1]


def test_masks_have_both_parts() -> None:
    rng = np.random.default_rng(0)
    masks = [random_mask(rng, 256) for _ in range(12)]

    assert all(0 <= mask.min() <= mask.max() <= 1 for mask in masks)
    assert np.mean([0 < mask.mean() < 1 for mask in masks]) > 0.8


def test_samples_differ(store: MaterialStore) -> None:
    one, other = islice(draw_samples(np.random.default_rng(0), store, grey), 2)

    assert not np.array_equal(one.features, other.features)
