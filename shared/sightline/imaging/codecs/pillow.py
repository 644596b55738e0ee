"""Decoders of Pillow, called by class: no guessing of formats, no global limits or registrations."""

from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.imaging.bit_depth import widened
from sightline.imaging.codecs.raster import Raster, require_size
from sightline.imaging.containers import av1, heif, heif_items, jpeg, webp
from sightline.imaging.formats import ImageHeader, unreadable
from sightline.imaging.metadata import Metadata
from sightline.imaging.orientation import to_displayed
from sightline.imaging.picture import FIRST_FRAME_ONLY, REDUCED_TO_8_BIT, Samples

_TILE_PX = 1 << 20  # the tiles of a small grid may reach beyond it
_KEPT = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def decode_jpeg(data: bytes, header: ImageHeader) -> Raster:
    """Pillow undoes the inversion of Adobe's CMYK files."""
    image = JpegImageFile(BytesIO(data))
    return Raster(_samples(image, header), jpeg.read_metadata(data), cmyk=image.mode == "CMYK")


def decode_webp(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    image = WebPImageFile(BytesIO(data))
    return Raster(_samples(image, header), webp.read_metadata(data), _frame_note(image))


def decode_gif(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    image = GifImageFile(BytesIO(data))
    return Raster(_samples(image, header), Metadata(), _frame_note(image))


def decode_avif(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster:
    """Turned and mirrored as the file's own properties say, which Pillow reports as EXIF orientation."""
    _require_coded_size(data, header)
    metadata = heif.read_metadata(data)
    if header.bit_depth > 8 and header.frames == 1:
        samples, notes = _deep_avif(data, header), ()
    else:
        image = AvifImageFile(BytesIO(data))
        reduced = (REDUCED_TO_8_BIT,) if header.bit_depth > 8 else ()
        samples, notes = _samples(image, header), (*_frame_note(image), *reduced)
    return Raster(to_displayed(samples, metadata.orientation), replace(metadata, orientation=1), notes)


def _deep_avif(data: bytes, header: ImageHeader) -> Samples:
    """Pillow's decoder knows 8 bits only."""
    samples: Samples = np.atleast_3d(imagecodecs.avif_decode(data, numthreads=1))
    require_size((samples.shape[1], samples.shape[0]), header)
    return widened(samples, header.bit_depth) if samples.dtype == np.uint16 else samples


def _samples(image: ImageFile, header: ImageHeader) -> Samples:
    require_size(image.size, header)
    image.load()
    require_size(image.size, header)
    return np.atleast_3d(np.asarray(_expanded(image)))


def _require_coded_size(data: bytes, header: ImageHeader) -> None:
    """libavif decodes a frame larger than announced whole and scales it down without a word."""
    room_px = max(header.pixels, _TILE_PX)
    for item in heif_items.coded_items(data, b"av01"):
        sizes_px = av1.frame_sizes(item)
        if not sizes_px or any(width * height > room_px for width, height in sizes_px):
            raise unreadable("The picture's size is not the one that its header gives.")


def _expanded(image: Image) -> Image:
    if "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in _KEPT:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _frame_note(image: ImageFile) -> tuple[str, ...]:
    return (FIRST_FRAME_ONLY,) if getattr(image, "is_animated", False) else ()
