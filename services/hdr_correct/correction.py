"""Correction of the full photo, and its scene in linear light, from the network's outputs on the small copy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.bilateral_grid import AffineGrid, fit_grid, mapped_bands
from services.hdr_correct.exposure import (
    correction_share,
    estimate_ev_error,
    is_usable,
    overexposure_certainty,
    read_exposure,
    without_darkening,
)
from services.hdr_correct.fill_light import fill_light
from services.hdr_correct.preview import Preview
from services.hdr_correct.scene import HdrScene, compress, expand, luminance
from services.hdr_correct.schemas import Exposure, HdrOptions
from services.hdr_correct.synthesis import synthesised_map
from sightline.imaging.bit_depth import Floats, quantize, to_float
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Picture, Samples
from sightline.inference.signature import Tensors

OUTLIER_SHARE = 1e-3
"""Share of the darkest and of the brightest pixels that the range of the scene leaves out."""
MIN_LIGHT = 1e-5
ALMOST_WHITE, FULLY_WHITE = 0.94, 0.99
LIGHTENING = 0.05
"""Added to the mean of the guesses in white areas: it costs no error and looks more like a sky."""
KNEE, TOP = 0.9, 0.96
"""Of the brightest channel: brightening compresses the range from the first to white into that from the first to the
second."""
RELIABLE, CLIPPED = 0.9, 0.985
"""Of the brightest channel in sRGB: the camera is reliable up to the first and clips from the second."""


@dataclass(frozen=True, slots=True, eq=False)
class HdrRequest:
    """A decoded photo with its options."""

    picture: Picture
    options: HdrOptions


@dataclass(frozen=True, slots=True, eq=False)
class HdrResult:
    """A corrected photo and its estimated scene.

    pixels: (h, w, 3) in the photo's colour space, of 16 bits if the options or the photo have 16; applied: share of the
    network's correction, 0..1; lift_stops: of the fill light in the deepest shadows; scene_stops: range of the scene's
    luminance; synthesised: map (h, w) with 255 where the content is made up.
    """

    request: HdrRequest
    pixels: Samples
    scene: HdrScene
    scene_stops: float
    applied: float
    lift_stops: float
    exposure: Exposure
    synthesised: NDArray[np.uint8]

    @property
    def synthesised_share(self) -> float:
        return np.count_nonzero(self.synthesised) / self.synthesised.size


def apply_outputs(request: HdrRequest, small: Preview, outputs: Tensors) -> HdrResult:
    """The result of a request, from the outputs `compressed` and `corrected` of the preview's size."""
    picture, strength = request.picture, request.options.strength
    compressed, wanted = outputs["compressed"], outputs["corrected"]
    own, shown = small.own, to_float(small.srgb)
    wanted = _even_out_white(shown, wanted)
    # The network may estimate slight colours for a grey photo.
    compressed = _to_grey(compressed) if picture.grey else compressed
    wanted = without_darkening(shown, wanted, overexposed=overexposure_certainty(picture.pixels))
    share, usable = correction_share(shown, wanted), is_usable(small.srgb)
    guess = expand(compressed)
    light = merge_scene(shown, guess, estimate_ev_error(shown, guess, usable), withheld=1 - share)
    exposed = _keep_highlights(shown, shown + np.float32(share) * (wanted - shown))
    fill = fill_light(exposed, shown)
    target = fill.apply(exposed) if fill.max_stops else exposed
    changes = strength > 0 and (share > 0 or fill.max_stops > 0)
    pixels = _correct(request, fit_grid(own, small.to_own(target)), strength if changes else 0)
    corrected = shown + np.float32(strength) * (target - shown)
    exposure = Exposure(
        before=read_exposure(picture, picture.pixels, estimate_ev_error(shown, light, usable)),
        after=read_exposure(picture, pixels, estimate_ev_error(corrected, light, usable)),
    )
    scene = HdrScene(fit_grid(own, compress(light)), picture.pixels)
    return HdrResult(
        request,
        pixels,
        scene,
        _range_in_stops(light),
        strength * share,
        strength * fill.max_stops,
        exposure,
        synthesised_map(picture, pixels),
    )


def _correct(request: HdrRequest, grid: AffineGrid, strength: float) -> Samples:
    picture, depth = request.picture, request.options.depth
    dtype = np.dtype(np.uint16 if (depth or picture.bit_depth) == 16 else np.uint8)
    if strength == 0:  # pixels stay equal to the bit, which a grid of identities does not guarantee
        return quantize(picture.pixels, dtype)
    result: Samples = np.empty(picture.pixels.shape, dtype)
    for rows, values in mapped_bands(grid.blended(strength), picture.pixels):
        result[rows] = quantize(values, dtype)
    return result


def _keep_highlights(shown: Floats, exposed: Floats) -> Floats:
    """The photo in its new exposure, with room for texture below white where the photo as taken is not clipped."""
    before, after = shown.max(axis=2, keepdims=True), exposed.max(axis=2, keepdims=True)
    open_share = np.clip((CLIPPED - before) / (CLIPPED - ALMOST_WHITE), 0, 1)
    compressed = np.where(after > KNEE, KNEE + (after - KNEE) * (TOP - KNEE) / (1 - KNEE), after)
    # Only brightening is held back, so that highlights that the correction does not brighten stay as they are.
    kept = after + open_share * (np.maximum(compressed, np.minimum(before, after)) - after)
    return np.asarray(exposed * (kept / np.maximum(after, MIN_LIGHT)), np.float32)


def _even_out_white(shown: Floats, wanted: Floats) -> Floats:
    """The correction with one light grey where the photo is white: there the network's estimates are blotchy."""
    white = np.clip((shown.min(axis=2, keepdims=True) - ALMOST_WHITE) / (FULLY_WHITE - ALMOST_WHITE), 0, 1)
    if not white.any():
        return wanted
    tone = float((white * _to_grey(wanted)).sum() / (3 * white.sum())) + LIGHTENING
    return np.asarray(wanted + white * (np.float32(min(tone, 1)) - wanted), np.float32)


def _to_grey(colours: Floats) -> Floats:
    """(h, w, 3) with every channel the mean of the three."""
    return np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)


def _range_in_stops(light: Floats) -> float:
    low, high = np.quantile(np.maximum(luminance(light), MIN_LIGHT), (OUTLIER_SHARE, 1 - OUTLIER_SHARE))
    return round(float(np.log2(high / low)), 2)


def merge_scene(shown: Floats, guess: Floats, ev_error: float | None, *, withheld: float = 0.0) -> Floats:
    """The scene (h, w, 3) in linear light: the photo's light where it is not clipped, the guess elsewhere.

    shown: the photo in sRGB 0..1; guess: the network's scene in linear light; ev_error: median of the stops from the
    guess to the photo, None where the photo shows nothing; withheld: share of these stops that is ignored, 0..1.
    """
    if ev_error is None:
        return guess
    known = decode_srgb(shown) * np.float32(2 ** (-ev_error * (1 - withheld)))
    guessed = guess * np.float32(2 ** (ev_error * withheld))
    share = np.clip((shown.max(axis=2, keepdims=True) - RELIABLE) / (CLIPPED - RELIABLE), 0, 1)
    # A clipped pixel is at least as bright as it looks.
    return np.asarray(known + share * (np.maximum(guessed, known) - known), np.float32)
