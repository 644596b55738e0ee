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
    normal = np.asarray(maps.normal[:, ::-1] * OTHER_SIDE, np.float32)
    return Maps(maps.albedo[:, ::-1], normal, maps.roughness[:, ::-1], maps.metallic)


def mean_maps(one: Maps, other: Maps) -> Maps:
    albedo, roughness = (one.albedo + other.albedo) / 2, (one.roughness + other.roughness) / 2
    normal, metallic = unit(one.normal + other.normal), (one.metallic + other.metallic) / 2
    return Maps(np.asarray(albedo, np.float32), normal, np.asarray(roughness, np.float32), metallic)
