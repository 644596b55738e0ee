"""PNG through libpng, which expands palettes, small bit depths and transparent colours, and keeps 16 bits."""

import imagecodecs
import numpy as np

from sightline.imaging.containers import png
from sightline.imaging.formats import ImageHeader
from sightline.imaging.picture import FIRST_FRAME_ONLY, DecodedImage, Samples


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes the default image; ignores everything behind its pixels."""
    samples = _decode(png.up_to_pixels(data), header, png.channels(data))
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    return DecodedImage(np.atleast_3d(samples), png.read_metadata(data), notes)


def _decode(data: bytes, header: ImageHeader, channels: int) -> Samples:
    # Without an array to fill, imagecodecs releases a reference of None with each broken file, until Python aborts.
    shape = (header.height, header.width, channels) if channels > 1 else (header.height, header.width)
    samples: Samples = np.empty(shape, np.uint16 if header.bit_depth == 16 else np.uint8)
    imagecodecs.png_decode(data, out=samples)
    return samples
