"""From what the network did to the small copy to the corrected photo."""

import numpy as np

from services.hdr_correct.exposure import estimate_ev_error, is_usable, read_exposure
from services.hdr_correct.floats import Floats, to_unit
from services.hdr_correct.grid import AffineGrid, fit_grid
from services.hdr_correct.preview import Preview
from services.hdr_correct.restraint import grant
from services.hdr_correct.result import HdrRequest, HdrResult
from services.hdr_correct.scene import Scene, expand, luminance
from services.hdr_correct.schemas import Exposure
from services.hdr_correct.slicing import mapped_bands
from sightline.imaging.depth import quantized
from sightline.imaging.picture import Samples
from sightline.serving.signature import Tensors

OUTER_SHARE = 1e-3
LEAST_LIGHT = 1e-5


def apply_outputs(request: HdrRequest, small: Preview, outputs: Tensors) -> HdrResult:
    """Outputs: `compressed` and `corrected`, of the size of the preview's sample."""
    picture, strength = request.picture, request.options.strength
    compressed, wanted = (small.within(outputs[name]) for name in ("compressed", "corrected"))
    compressed = _neutral(compressed) if picture.grey else compressed
    own, shown, light = small.own, to_unit(small.srgb), expand(compressed)
    applied = strength * grant(shown, wanted)
    corrected = shown + np.float32(applied) * (wanted - shown)
    pixels = _correct(request, fit_grid(own, small.to_own(wanted)), applied)
    usable = is_usable(small.srgb)
    exposure = Exposure(
        before=read_exposure(picture, picture.pixels, estimate_ev_error(shown, light, usable)),
        after=read_exposure(picture, pixels, estimate_ev_error(corrected, light, usable)),
    )
    scene = Scene(fit_grid(own, compressed), picture.pixels)
    return HdrResult(request, pixels, scene, _stops(light), applied, exposure)


def _correct(request: HdrRequest, grid: AffineGrid, applied: float) -> Samples:
    picture, depth = request.picture, request.options.depth
    dtype = np.dtype(np.uint16 if (depth or picture.bit_depth) == 16 else np.uint8)
    if applied == 0:
        return quantized(picture.pixels, dtype)
    result: Samples = np.empty(picture.pixels.shape, dtype)
    for rows, values in mapped_bands(grid.blended(applied), picture.pixels):
        result[rows] = quantized(values, dtype)
    return result


def _neutral(compressed: Floats) -> Floats:
    """A grey photo shows a grey scene."""
    return np.repeat(compressed.mean(axis=2, keepdims=True), 3, axis=2)


def _stops(light: Floats) -> float:
    low, high = np.quantile(np.maximum(luminance(light), LEAST_LIGHT), (OUTER_SHARE, 1 - OUTER_SHARE))
    return round(float(np.log2(high / low)), 2)
