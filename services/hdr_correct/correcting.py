"""From what the network did to the small copy to the corrected photo."""

import numpy as np

from services.hdr_correct.anchoring import anchor
from services.hdr_correct.exposure import estimate_ev_error, is_usable, read_exposure
from services.hdr_correct.floats import Floats, to_unit
from services.hdr_correct.grid import AffineGrid, fit_grid
from services.hdr_correct.preview import Preview
from services.hdr_correct.restraint import grant, meant_white
from services.hdr_correct.result import HdrRequest, HdrResult
from services.hdr_correct.scene import Scene, compress, expand, luminance
from services.hdr_correct.schemas import Exposure
from services.hdr_correct.slicing import mapped_bands
from sightline.imaging.bit_depth import quantize
from sightline.imaging.picture import Samples
from sightline.inference.signature import Tensors

OUTER_SHARE = 1e-3
LEAST_LIGHT = 1e-5
ALMOST_WHITE, SURELY_WHITE = 0.94, 0.99
LIGHTER = 0.05  # than the mean of the guesses, which costs nothing in error and looks more like a sky


def apply_outputs(request: HdrRequest, small: Preview, outputs: Tensors) -> HdrResult:
    """Outputs: `compressed` and `corrected`, of the size of the preview."""
    picture, strength = request.picture, request.options.strength
    compressed, wanted = outputs["compressed"], outputs["corrected"]
    own, shown = small.own, to_unit(small.srgb)
    wanted = _evenly_white(shown, wanted)
    compressed = _neutral(compressed) if picture.grey else compressed
    granted = grant(shown, wanted, meant=meant_white(picture.pixels))
    applied, usable = strength * granted, is_usable(small.srgb)
    guess = expand(compressed)
    light = anchor(shown, guess, estimate_ev_error(shown, guess, usable), withheld=1 - granted)
    corrected = shown + np.float32(applied) * (wanted - shown)
    pixels = _correct(request, fit_grid(own, small.to_own(wanted)), applied)
    exposure = Exposure(
        before=read_exposure(picture, picture.pixels, estimate_ev_error(shown, light, usable)),
        after=read_exposure(picture, pixels, estimate_ev_error(corrected, light, usable)),
    )
    scene = Scene(fit_grid(own, compress(light)), picture.pixels)
    return HdrResult(request, pixels, scene, _stops(light), applied, exposure)


def _correct(request: HdrRequest, grid: AffineGrid, applied: float) -> Samples:
    picture, depth = request.picture, request.options.depth
    dtype = np.dtype(np.uint16 if (depth or picture.bit_depth) == 16 else np.uint8)
    if applied == 0:
        return quantize(picture.pixels, dtype)
    result: Samples = np.empty(picture.pixels.shape, dtype)
    for rows, values in mapped_bands(grid.blended(applied), picture.pixels):
        result[rows] = quantize(values, dtype)
    return result


def _evenly_white(shown: Floats, wanted: Floats) -> Floats:
    """What is white in the photo in one light grey: the network's guesses there are stains of no scene's colour."""
    white = np.clip((shown.min(axis=2, keepdims=True) - ALMOST_WHITE) / (SURELY_WHITE - ALMOST_WHITE), 0, 1)
    if not white.any():
        return wanted
    tone = float((white * _neutral(wanted)).sum() / (3 * white.sum())) + LIGHTER
    return np.asarray(wanted + white * (np.float32(min(tone, 1)) - wanted), np.float32)


def _neutral(colours: Floats) -> Floats:
    """(h, w, 3), all channels of which are their mean."""
    return np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)


def _stops(light: Floats) -> float:
    low, high = np.quantile(np.maximum(luminance(light), LEAST_LIGHT), (OUTER_SHARE, 1 - OUTER_SHARE))
    return round(float(np.log2(high / low)), 2)
