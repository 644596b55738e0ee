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
from sightline.materials.rendering import diffuse_colour, specular_colour

LAYERS = (
    *(f"{name}.{channel}" for name in ("basecolor", "diffuse", "specular") for channel in "RGB"),
    *(f"normal.{axis}" for axis in "XYZ"),
    "roughness.Y",
    "metallic.Y",
)
LAYERS_COMMENT = (
    "basecolor, diffuse, specular: linear; diffuse = basecolor * (1 - metallic); specular = reflectance head-on; "
    "normal: -1..1, y up; roughness: alpha = roughness^2."
)


def basecolor(maps: SurfaceMaps) -> Floats:
    """The base colour in sRGB: the diffuse colour of dielectrics, the reflectance of metals."""
    return encode_srgb(maps.albedo)


def diffuse(maps: SurfaceMaps) -> Floats:
    """The diffuse colour in sRGB, black for metals."""
    return encode_srgb(diffuse_colour(maps))


def specular(maps: SurfaceMaps) -> Floats:
    """The reflectance at normal incidence in sRGB."""
    return encode_srgb(specular_colour(maps))


def normal(maps: SurfaceMaps) -> Floats:
    """The normal, with -1 black and 1 white; y is up."""
    return np.asarray((maps.normal + 1) / 2, np.float32)


def roughness(maps: SurfaceMaps) -> Floats:
    """The roughness, linear, in every channel."""
    return np.repeat(maps.roughness[..., None], 3, axis=2)


def metallic(maps: SurfaceMaps) -> Floats:
    """The metallicness, linear, in every channel."""
    return np.repeat(maps.metallic[..., None], 3, axis=2)


def metallic_roughness(maps: SurfaceMaps) -> Floats:
    """The roughness in green and the metallicness in blue, as glTF has them."""
    return np.dstack([np.ones_like(maps.roughness), maps.roughness, maps.metallic])


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
        colours = (band.albedo, diffuse_colour(band), specular_colour(band))
        values = np.dstack([*colours, band.normal, band.roughness, band.metallic])
        for at, plane in enumerate(planes.values()):
            plane[rows] = values[..., at]
    return encode_openexr(planes, LAYERS_COMMENT)
