"""HEIC through libheif and AVIF through libavif, in the orientation that the file's item properties give."""

from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
import pillow_heif
from PIL.AvifImagePlugin import AvifImageFile

from sightline.imaging.bit_depth import expand_to_16_bit
from sightline.imaging.codecs import pillow
from sightline.imaging.containers import av1, heif, heif_items
from sightline.imaging.formats import ImageHeader, unreadable
from sightline.imaging.orientation import to_displayed
from sightline.imaging.picture import FIRST_FRAME_ONLY, REDUCED_TO_8_BIT, DecodedImage, Samples

_TILE_PX = 1 << 20  # the tiles of a small grid may be larger than its picture


def decode_heic(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes through libheif, which applies `irot`, `imir` and `clap`, so that EXIF orientation does not apply."""
    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    _require_size_within(image.size, header)
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    return DecodedImage(_heic_samples(image), replace(heif.read_metadata(data), orientation=1), notes)


def _heic_samples(image: pillow_heif.HeifFile) -> Samples:
    samples: Samples = np.atleast_3d(np.asarray(image))
    if samples.dtype == np.uint8:
        return samples
    bits = int(image.info["bit_depth"])
    return expand_to_16_bit(samples >> np.uint16(16 - bits), bits)  # libheif shifts its values up to 16 bits


def _require_size_within(size_px: tuple[int, int], header: ImageHeader) -> None:
    """Accepts swapped sides, which `irot` causes, and smaller ones, which `clap` causes."""
    short, long = sorted(size_px)
    if short > min(header.width, header.height) or long > max(header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")


def decode_avif(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes through libavif and applies `irot` and `imir`, which Pillow reports as EXIF orientation."""
    _require_coded_size(data, header)
    metadata = heif.read_metadata(data)
    if header.bit_depth > 8 and header.frames == 1:
        samples, notes = _decode_deep_avif(data, header), ()
    else:
        image = AvifImageFile(BytesIO(data))
        reduced = (REDUCED_TO_8_BIT,) if header.bit_depth > 8 else ()
        samples, notes = pillow.load_samples(image, header), (*pillow.frame_notes(image), *reduced)
    return DecodedImage(to_displayed(samples, metadata.orientation), replace(metadata, orientation=1), notes)


def _decode_deep_avif(data: bytes, header: ImageHeader) -> Samples:
    """Decodes more than 8 bits, which Pillow's decoder does not support."""
    samples: Samples = np.atleast_3d(imagecodecs.avif_decode(data, numthreads=1))
    header.require_size((samples.shape[1], samples.shape[0]))
    return expand_to_16_bit(samples, header.bit_depth) if samples.dtype == np.uint16 else samples


def _require_coded_size(data: bytes, header: ImageHeader) -> None:
    """Raises if a coded frame exceeds the header's size: libavif would decode all of it and silently scale it down."""
    max_px = max(header.pixels, _TILE_PX)
    for item in heif_items.coded_items(data, b"av01"):
        sizes_px = av1.frame_sizes(item)
        if not sizes_px or any(width * height > max_px for width, height in sizes_px):
            raise unreadable("The picture's size is not the one that its header gives.")
