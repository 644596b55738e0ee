"""HEIC through libheif, which turns and crops the picture as the file says; its EXIF orientation is void then."""

from dataclasses import replace

import numpy as np
import pillow_heif

from sightline.imaging.bit_depth import widened
from sightline.imaging.codecs.raster import Raster
from sightline.imaging.containers import heif
from sightline.imaging.formats import ImageHeader, unreadable
from sightline.imaging.picture import FIRST_FRAME_ONLY, Samples


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    _require_room(image.size, header)
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    return Raster(_samples(image), replace(heif.read_metadata(data), orientation=1), notes)


def _samples(image: pillow_heif.HeifFile) -> Samples:
    samples: Samples = np.atleast_3d(np.asarray(image))
    if samples.dtype == np.uint8:
        return samples
    bits = int(image.info["bit_depth"])
    return widened(samples >> np.uint16(16 - bits), bits)  # libheif's values are shifted up


def _require_room(size_px: tuple[int, int], header: ImageHeader) -> None:
    """Turning swaps the sides of the coded size and the clean aperture crops it."""
    short, long = sorted(size_px)
    if short > min(header.width, header.height) or long > max(header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")
