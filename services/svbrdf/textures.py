"""Maps as PNG textures, and as the layers of an OpenEXR file."""

from collections.abc import Callable, Mapping

import numpy as np

from services.svbrdf.estimation import DetailedMaps
from services.svbrdf.linear_photo import LinearPhoto
from sightline.api.media_types import PNG
from sightline.imaging.bit_depth import quantize
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.imaging.encoder import encode
from sightline.imaging.formats import ImageFormat
from sightline.imaging.hdr_encoder import encode_openexr
from sightline.imaging.picture import Picture, Samples
from sightline.materials.maps import Floats, SurfaceMaps

LAYERS = ("diffuse.R", "diffuse.G", "diffuse.B", "normal.X", "normal.Y", "normal.Z", "roughness.Y")
LAYERS_COMMENT = "diffuse: linear, base colour of metals; normal: -1..1, y up; roughness: alpha = roughness^2."


def diffuse(maps: SurfaceMaps) -> Floats:
    """The albedo in sRGB."""
    return encode_srgb(maps.albedo)


def normal(maps: SurfaceMaps) -> Floats:
    """The normal, with -1 black and 1 white; y is up."""
    return np.asarray((maps.normal + 1) / 2, np.float32)


def roughness(maps: SurfaceMaps) -> Floats:
    """The roughness, linear, in every channel."""
    return np.repeat(maps.roughness[..., None], 3, axis=2)


def metallic_roughness(maps: SurfaceMaps) -> Floats:
    """The roughness in green, and 1 in blue, which glTF multiplies by the metallic factor."""
    one = np.ones_like(maps.roughness)
    return np.dstack([one, maps.roughness, one])


TextureOf = Callable[[SurfaceMaps], Floats]


def draw(
    maps: DetailedMaps, photo: LinearPhoto, kinds: Mapping[str, TextureOf], dtype: type[np.unsignedinteger]
) -> dict[str, Samples]:
    """The textures (h, w, 3) of each kind, at the photo's size."""
    shape, kept = (photo.height, photo.width, 3), np.dtype(dtype)
    pictures: dict[str, Samples] = {name: np.empty(shape, kept) for name in kinds}
    for rows, band in maps.bands(photo):
        for name, values in kinds.items():
            pictures[name][rows] = quantize(values(band), kept)
    return pictures


def png(pixels: Samples, *, grey: bool = False) -> bytes:
    """A PNG file of pixels (h, w, 3); of a grey picture, the first channel."""
    bits = 8 * pixels.dtype.itemsize
    return encode(pixels, PNG, Picture(pixels, None, ImageFormat.PNG, bits, 1, None, grey, (), ""))


def encode_layers(maps: DetailedMaps, photo: LinearPhoto) -> bytes:
    """All maps in one OpenEXR file of named layers."""
    planes = {name: np.empty((photo.height, photo.width), np.float16) for name in LAYERS}
    for rows, band in maps.bands(photo):
        values = np.dstack([band.albedo, band.normal, band.roughness])
        for at, plane in enumerate(planes.values()):
            plane[rows] = values[..., at]
    return encode_openexr(planes, LAYERS_COMMENT)
