"""What TIFF samples mean: photometric interpretation, small bit depths and extra samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffPage

from sightline.imaging.formats import unreadable
from sightline.imaging.picture import Samples

CHANNELS: Mapping[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,  # JPEG only, which arrives as RGB
    PHOTOMETRIC.SEPARATED: 4,
}
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2


def interpret(page: TiffPage, samples: NDArray[Any]) -> Samples:
    """Samples (h, w, c) as stored to grey, RGB or CMYK of 8 or 16 bits and full range, alpha last if there is any."""
    channels = CHANNELS[page.photometric]
    colour = _colour(page, samples[..., :channels])
    kinds = [int(kind) for kind in page.extrasamples]
    places = [place for place, kind in enumerate(kinds) if kind in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA)]
    if not places or colour.shape[-1] == 4:
        return colour
    alpha = _full_range(samples[..., channels + places[0]], page.bitspersample)
    if kinds[places[0]] == _ASSOCIATED_ALPHA:
        colour = _unpremultiplied(colour, alpha)
    result: Samples = np.dstack([colour, alpha.astype(colour.dtype)])
    return result


def _colour(page: TiffPage, samples: NDArray[Any]) -> Samples:
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours: Samples = _palette(page)[samples[..., 0]]
        return colours
    colour = _full_range(samples, page.bitspersample)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return np.invert(colour)
    return colour


def _palette(page: TiffPage) -> Samples:
    """(2 ** bits, 3) of 8 bits: palettes are stored with 16, by some writers with 8."""
    table = page.colormap
    if table is None or page.bitspersample > 8 or table.shape != (3, 1 << page.bitspersample):
        raise unreadable("The TIFF file's palette is broken.")
    return (table if table.max() < 256 else table >> 8).astype(np.uint8).T


def _full_range(samples: NDArray[Any], bits: int) -> Samples:
    if bits in (8, 16):
        return samples
    dtype = np.uint8 if bits < 8 else np.uint16
    scaled: Samples = (samples.astype(np.uint32) * np.iinfo(dtype).max // ((1 << bits) - 1)).astype(dtype)
    return scaled


def _unpremultiplied(colour: Samples, alpha: Samples) -> Samples:
    top = np.iinfo(colour.dtype).max
    straight = colour.astype(np.float32) * (top / np.maximum(alpha, 1).astype(np.float32))[..., None]
    result: Samples = np.clip(np.rint(straight), 0, top).astype(colour.dtype)
    return result
