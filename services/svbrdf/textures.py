"""Maps as PNG files."""

from collections.abc import Callable, Mapping

import numpy as np

from services.svbrdf.light import LinearPhoto
from services.svbrdf.upsampling import DetailedMaps
from sightline.imaging.bit_depth import quantize
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.imaging.encoder import encode
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples
from sightline.materials.maps import Floats, SurfaceMaps

PNG = "image/png"


def diffuse(maps: SurfaceMaps) -> Floats:
    """sRGB"""
    return encode_srgb(maps.albedo)


def normal(maps: SurfaceMaps) -> Floats:
    """-1 is black and 1 white, y up"""
    return np.asarray((maps.normal + 1) / 2, np.float32)


def roughness(maps: SurfaceMaps) -> Floats:
    """Linear, the same in every channel"""
    return np.repeat(maps.roughness[..., None], 3, axis=2)


def metallic_roughness(maps: SurfaceMaps) -> Floats:
    """Roughness in green and 1 in blue, for glTF's factor to scale"""
    one = np.ones_like(maps.roughness)
    return np.dstack([one, maps.roughness, one])


Draw = Callable[[SurfaceMaps], Floats]


def draw(
    maps: DetailedMaps, photo: LinearPhoto, kinds: Mapping[str, Draw], dtype: type[np.unsignedinteger]
) -> dict[str, Samples]:
    """(h, w, 3) of each kind, at the photo's size."""
    shape, kept = (photo.height, photo.width, 3), np.dtype(dtype)
    pictures: dict[str, Samples] = {name: np.empty(shape, kept) for name in kinds}
    for rows, band in maps.bands(photo):
        for name, values in kinds.items():
            pictures[name][rows] = quantize(values(band), kept)
    return pictures


def png(pixels: Samples, *, grey: bool = False) -> bytes:
    """(h, w, 3), of a grey picture the first channel."""
    bits = 8 * pixels.dtype.itemsize
    return encode(pixels, PNG, Picture(pixels, None, ImageFormat.PNG, bits, 1, None, grey, (), ""))
