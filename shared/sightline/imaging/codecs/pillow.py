"""Decoders of Pillow, called by class: no guessing of formats, no global limits or registrations."""

from io import BytesIO

import numpy as np
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.imaging.codecs.raster import Raster, require_size
from sightline.imaging.containers import av1, heif_items, jpeg, tiff, webp
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
    image = AvifImageFile(BytesIO(data))
    samples = to_displayed(_samples(image, header), _exif_orientation(image))
    reduced = (REDUCED_TO_8_BIT,) if header.bit_depth > 8 else ()
    return Raster(samples, Metadata(icc_profile=image.info.get("icc_profile")), (*_frame_note(image), *reduced))


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


def _exif_orientation(image: ImageFile) -> int:
    exif: bytes = image.info.get("exif", b"")
    return tiff.read_orientation(exif.removeprefix(b"Exif\0\0"))
