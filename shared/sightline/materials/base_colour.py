"""Base colour and metallicness at every pixel, from a flash photo and a network's first estimate of the maps.

SVBRDF-Net normalises the photo's brightness away and draws colours towards those of its training materials. Here a
small perceptron weighs its albedo, at every pixel, against colours that the photo itself suggests. Detail comes from
these candidates; the weights are smooth, as they are computed at half the resolution.
"""

from dataclasses import dataclass, replace
from io import BytesIO

import cv2
import numpy as np

from sightline.materials.maps import Floats, SurfaceMaps, unit
from sightline.materials.rendering import DIELECTRIC_F0, microfacets

COLOURS = 4
"""The network's albedo; the photo over the flash's falloff; that less the white reflection of a dielectric; and the
photo over the reflection of a white metal."""
FILLS = 3
"""Colours of the surroundings: the third and the fourth of the colours in a window, and the fourth everywhere."""
CANDIDATES = COLOURS + FILLS
SCALES = (4, 16)
"""Sides of the windows that describe a pixel's surroundings, at half the resolution."""
TYPES, METAL = 8, 3
CHANNELS = 3 * COLOURS
FEATURES = CHANNELS * (2 + len(SCALES)) + 7 + TYPES
OUTPUTS = CANDIDATES + 4
MIN_COLOUR = 4e-3
MIN_SHADING = 0.02
MIN_FACING = 0.05
CLIPPED = 0.97
MIN_WEIGHT = 0.02
MATTE_SHARE = 0.05
"""Reflections are uncertain, so at most 95 % of the light is taken for one."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Evidence of a surface from a photo and the network, at half the network's resolution.

    features: (h, w, FEATURES), the same for a turned or mirrored photo; fills: (h, w, 9), logarithms of the
    surroundings' colours.
    """

    features: Floats
    fills: Floats


@dataclass(frozen=True, slots=True, eq=False)
class BaseColourModel:
    """The perceptron: weights (inputs, outputs) and biases of its layers."""

    layers: tuple[tuple[Floats, Floats], ...]

    @classmethod
    def read(cls, file: bytes) -> "BaseColourModel":
        """The model in an .npz file with `weight0`, `bias0`, `weight1`, ... ValueError if sizes do not fit."""
        with np.load(BytesIO(file), allow_pickle=False) as arrays:
            count = len(arrays.files) // 2
            layers = tuple(
                (arrays[f"weight{at}"].astype(np.float32), arrays[f"bias{at}"].astype(np.float32))
                for at in range(count)
            )
        if not layers or layers[0][0].shape[0] != FEATURES or layers[-1][0].shape[1] != OUTPUTS:
            raise ValueError(f"a base colour model takes {FEATURES} features and gives {OUTPUTS} values")
        return cls(layers)

    def __call__(self, features: Floats) -> Floats:
        """Values (h, w, OUTPUTS) of features (h, w, FEATURES)."""
        values = features.reshape(-1, features.shape[-1])
        for at, (weight, bias) in enumerate(self.layers):
            values = values @ weight + bias
            if at < len(self.layers) - 1:
                np.maximum(values, 0, out=values)
        return np.asarray(values.reshape(*features.shape[:-1], -1), np.float32)


def estimate_base_colour(
    model: BaseColourModel, maps: SurfaceMaps, light: Floats, points: Floats, probabilities: Floats
) -> SurfaceMaps:
    """The maps with another albedo, and metallicness at every pixel.

    light: the photo (h, w, 3) in 0..1; points: (h, w, 3) of the surface; probabilities: (8,) of the material types. The
    brightness follows the assumption that the camera exposes a grey card to its own reflectance.
    """
    evidence = collect_evidence(maps, light, points, probabilities)
    values = model(evidence.features)
    size = light.shape[1], light.shape[0]
    smooth = np.concatenate([softmax(values[..., :CANDIDATES]), evidence.fills, values[..., CANDIDATES:]], 2)
    smooth = np.dstack([cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in _planes(smooth)])
    weights, fills, gain, metallic = np.split(smooth, np.cumsum([CANDIDATES, 3 * FILLS, 3]), 2)
    candidates = np.concatenate([log_colours(maps, light, points), fills], 2)
    logs = gain + np.einsum("hwk,hwkc->hwc", weights, candidates.reshape(*weights.shape, 3))
    albedo = np.exp(np.minimum(logs, 0))
    # The classifier knows the whole better than the perceptron, which knows the difference between pixels; the product
    # of both odds was nearer to the truth on validation photos than either.
    odds = np.asarray(metallic[..., 0] + _logit(float(probabilities[METAL])), np.float32)
    return replace(maps, albedo=np.asarray(albedo, np.float32), metallic=sigmoid(odds))


def collect_evidence(maps: SurfaceMaps, light: Floats, points: Floats, probabilities: Floats) -> Evidence:
    """Returns the evidence at half the resolution, for maps whose sides are multiples of 32."""
    light, points, albedo, normal, roughness = (
        _halved(each) for each in (light, points, maps.albedo, maps.normal, maps.roughness)
    )
    small = replace(maps, albedo=albedo, normal=normal, roughness=roughness)
    return describe(small, light, points, probabilities)


def _halved(values: Floats) -> Floats:
    size = values.shape[1] // 2, values.shape[0] // 2
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def describe(maps: SurfaceMaps, light: Floats, points: Floats, probabilities: Floats) -> Evidence:
    """The evidence of maps, light and points at half the resolution."""
    exposed, diffuse, lobe = _shading(maps, light, points)
    logs = log_colours(maps, light, points)
    clipped = (light.max(axis=2, keepdims=True) > CLIPPED).astype(np.float32)
    weights = _confidence(clipped, diffuse, lobe)
    whole = _whole_mean(logs, weights)
    means = [_window_mean(logs, weights, scale, whole) for scale in SCALES]
    own = [_log_mean(part) for part in (exposed, diffuse, lobe)]
    everywhere = np.broadcast_to(np.concatenate([whole, probabilities]), (*light.shape[:2], CHANNELS + TYPES))
    features = (logs, clipped, maps.roughness, *_geometry(maps, points), *own, *means, everywhere)
    fills = (means[-1][..., 6:], np.broadcast_to(whole[9:], light.shape))
    return Evidence(np.dstack(features).astype(np.float32), np.dstack(fills).astype(np.float32))


def log_colours(maps: SurfaceMaps, light: Floats, points: Floats) -> Floats:
    """Natural logarithms (h, w, 12) of the four colours."""
    exposed, diffuse, lobe = _shading(maps, light, points)
    matte = np.maximum(exposed - DIELECTRIC_F0 * lobe, MATTE_SHARE * exposed)
    colours = (maps.albedo, exposed / diffuse, matte / diffuse, exposed / lobe)
    return np.asarray(np.log(np.clip(np.concatenate(colours, 2), MIN_COLOUR, 1)), np.float32)


def grey_card_level(points: Floats) -> float:
    """The factor from a photo's linear light to light relative to a flash that a matte white surface in front of the
    camera, at the distance of the middle, reflects as 1.

    A camera exposes a grey card to its own reflectance. So the log-average of the photo is taken for that of the
    surface, which the falloff of the flash darkens by this factor.
    """
    squared = (points**2).sum(axis=2)
    return float(np.exp(-1.5 * np.log(squared).mean()))


def _shading(maps: SurfaceMaps, light: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """The light (h, w, 3) relative to the flash, and renders (h, w, 1) of white surfaces: matte, and metal."""
    squared = (points**2).sum(axis=2, keepdims=True)
    facing = np.clip((maps.normal * unit(-points)).sum(axis=2, keepdims=True), MIN_FACING, 1)
    diffuse = facing / squared
    # Camera and flash share a place, so the half vector points to both.
    lobe = np.pi * microfacets(maps.roughness[..., None], facing, facing, facing) * diffuse
    return light * np.float32(grey_card_level(points)), np.maximum(diffuse, MIN_SHADING), np.maximum(lobe, MIN_SHADING)


def _confidence(clipped: Floats, diffuse: Floats, lobe: Floats) -> Floats:
    """Weights (h, w, 12) of the colours in means: clipped pixels have none; that of a matte surface shows beside the
    highlight, that of a metal within it."""
    shown = 1 - clipped
    matte, glossy = shown / (1 + 0.2 * lobe / diffuse), shown * lobe / (1 + lobe)
    return np.repeat(np.concatenate([shown, matte, matte, glossy], 2), 3, axis=2)


def _whole_mean(values: Floats, weights: Floats) -> Floats:
    total = (values * weights).mean(axis=(0, 1)) + 1e-4 * values.mean(axis=(0, 1))
    return np.asarray(total / (weights.mean(axis=(0, 1)) + 1e-4), np.float32)


def _window_mean(values: Floats, weights: Floats, scale: int, fallback: Floats) -> Floats:
    """Means of windows, enlarged again; where weights are small, they tend to the fallback."""
    height, width = values.shape[:2]
    small = width // scale, height // scale
    total, weight = (_resized(each, small, cv2.INTER_AREA) for each in (values * weights, weights))
    return _resized((total + MIN_WEIGHT * fallback) / (weight + MIN_WEIGHT), (width, height), cv2.INTER_LINEAR)


def _geometry(maps: SurfaceMaps, points: Floats) -> tuple[Floats, Floats]:
    """The normal's slope (h, w, 1) away from the photo's middle, and the distance from it."""
    distance = np.sqrt((points[..., :2] ** 2).sum(axis=2, keepdims=True) + 1e-6)
    slope = (maps.normal[..., :2] * points[..., :2]).sum(axis=2, keepdims=True) / distance
    return slope, distance


def _log_mean(values: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(values.mean(axis=2, keepdims=True), MIN_COLOUR)), np.float32)


def _resized(values: Floats, size: tuple[int, int], how: int) -> Floats:
    return np.dstack([cv2.resize(part, size, interpolation=how) for part in _planes(values)]).astype(np.float32)


def _planes(values: Floats) -> list[Floats]:
    """Parts of at most four channels, which OpenCV resizes fast."""
    return [np.ascontiguousarray(values[..., at : at + 4]) for at in range(0, values.shape[2], 4)]


def softmax(values: Floats) -> Floats:
    raised = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-3), 1 - 1e-3)
    return float(np.log(bounded / (1 - bounded)))


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)
