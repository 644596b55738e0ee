"""WebP, GIF and unusual JPEG through Pillow's image classes, without its format detection and global limits."""

from io import BytesIO

import numpy as np
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.imaging.containers import jpeg, webp
from sightline.imaging.formats import ImageHeader, Metadata
from sightline.imaging.picture import FIRST_FRAME_ONLY, DecodedImage, Samples

_DIRECT_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def decode_jpeg(data: bytes, header: ImageHeader) -> DecodedImage:
    """Decodes any colour model; Pillow undoes the inversion of Adobe's CMYK files."""
    image = JpegImageFile(BytesIO(data))
    return DecodedImage(load_samples(image, header), jpeg.read_metadata(data), cmyk=image.mode == "CMYK")


def decode_webp(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes the first frame."""
    image = WebPImageFile(BytesIO(data))
    return DecodedImage(load_samples(image, header), webp.read_metadata(data), frame_notes(image))


def decode_gif(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes the first frame."""
    image = GifImageFile(BytesIO(data))
    return DecodedImage(load_samples(image, header), Metadata(), frame_notes(image))


def load_samples(image: ImageFile, header: ImageHeader) -> Samples:
    """Returns (h, w, c) of 8 bits; palettes, transparent colours and bilevel pictures are expanded."""
    header.require_size(image.size)
    image.load()
    header.require_size(image.size)
    return np.atleast_3d(np.asarray(_expanded(image)))


def _expanded(image: Image) -> Image:
    if "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in _DIRECT_MODES:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def frame_notes(image: ImageFile) -> tuple[str, ...]:
    """Returns the note on animations, of which only the first frame is decoded."""
    return (FIRST_FRAME_ONLY,) if getattr(image, "is_animated", False) else ()
