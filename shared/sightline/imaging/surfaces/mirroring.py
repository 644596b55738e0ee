"""A photo and its mirror image show one surface: the mean of what a network makes of both is steadier than either."""

import numpy as np

from sightline.imaging.surfaces.maps import Floats, Maps, unit

OTHER_WAY = np.array([-1, 1], np.float32)
OTHER_SIDE = np.array([-1, 1, 1], np.float32)


def mirrored_view(light: Floats, coordinates: Floats) -> tuple[Floats, Floats]:
    """(h, w, 3) and (h, w, 2) with left and right exchanged."""
    return np.ascontiguousarray(light[:, ::-1]), np.ascontiguousarray(coordinates[:, ::-1] * OTHER_WAY)


def mirrored_maps(maps: Maps) -> Maps:
    """As the surface looks in a mirror at its side."""
    return Maps(maps.albedo[:, ::-1], maps.normal[:, ::-1] * OTHER_SIDE, maps.roughness[:, ::-1], maps.metallic)


def mean_maps(one: Maps, other: Maps) -> Maps:
    return Maps(
        (one.albedo + other.albedo) / 2,
        unit(one.normal + other.normal),
        (one.roughness + other.roughness) / 2,
        (one.metallic + other.metallic) / 2,
    )
