"""PNG through libpng: palettes, small bit depths and transparent colours arrive expanded, 16 bits stay 16 bits."""

import imagecodecs
import numpy as np

from sightline.imaging.codecs.raster import Raster
from sightline.imaging.containers import png
from sightline.imaging.formats import ImageHeader
from sightline.imaging.picture import FIRST_FRAME_ONLY, Samples


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    samples: Samples = imagecodecs.png_decode(data)
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    return Raster(np.atleast_3d(samples), png.read_metadata(data), notes)
