"""HEIC through libheif, which turns and crops the picture as the file says; its EXIF orientation is void then."""

import numpy as np
import pillow_heif

from sightline.imaging.codecs.raster import Raster
from sightline.imaging.formats import ImageHeader, unreadable
from sightline.imaging.metadata import Metadata
from sightline.imaging.picture import FIRST_FRAME_ONLY, REDUCED_TO_8_BIT, Samples


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    _require_room(image.size, header)
    samples: Samples = np.atleast_3d(np.asarray(image))
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    reduced = (REDUCED_TO_8_BIT,) if header.bit_depth > 8 else ()
    return Raster(samples, Metadata(icc_profile=image.info.get("icc_profile")), (*notes, *reduced))


def _require_room(size_px: tuple[int, int], header: ImageHeader) -> None:
    """Turning swaps the sides of the coded size and the clean aperture crops it."""
    short, long = sorted(size_px)
    if short > min(header.width, header.height) or long > max(header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")
