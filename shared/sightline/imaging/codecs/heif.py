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

_TILE_PX = 1 << 20  # the tiles of a small grid may reach beyond it


def decode_heic(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes through libheif, which applies `irot`, `imir` and `clap`: the EXIF orientation is void."""
    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    _require_room(image.size, header)
    notes = (FIRST_FRAME_ONLY,) if header.frames != 1 else ()
    return DecodedImage(_heic_samples(image), replace(heif.read_metadata(data), orientation=1), notes)


def _heic_samples(image: pillow_heif.HeifFile) -> Samples:
    samples: Samples = np.atleast_3d(np.asarray(image))
    if samples.dtype == np.uint8:
        return samples
    bits = int(image.info["bit_depth"])
    return expand_to_16_bit(samples >> np.uint16(16 - bits), bits)  # libheif's values are shifted up


def _require_room(size_px: tuple[int, int], header: ImageHeader) -> None:
    """Turning swaps the sides of the coded size and the clean aperture crops it."""
    short, long = sorted(size_px)
    if short > min(header.width, header.height) or long > max(header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")


def decode_avif(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Turned and mirrored as the file's own properties say, which Pillow reports as EXIF orientation."""
    _require_coded_size(data, header)
    metadata = heif.read_metadata(data)
    if header.bit_depth > 8 and header.frames == 1:
        samples, notes = _deep_avif(data, header), ()
    else:
        image = AvifImageFile(BytesIO(data))
        reduced = (REDUCED_TO_8_BIT,) if header.bit_depth > 8 else ()
        samples, notes = pillow.load_samples(image, header), (*pillow.frame_notes(image), *reduced)
    return DecodedImage(to_displayed(samples, metadata.orientation), replace(metadata, orientation=1), notes)


def _deep_avif(data: bytes, header: ImageHeader) -> Samples:
    """Pillow's decoder knows 8 bits only."""
    samples: Samples = np.atleast_3d(imagecodecs.avif_decode(data, numthreads=1))
    header.require_size((samples.shape[1], samples.shape[0]))
    return expand_to_16_bit(samples, header.bit_depth) if samples.dtype == np.uint16 else samples


def _require_coded_size(data: bytes, header: ImageHeader) -> None:
    """libavif decodes a frame larger than announced whole and scales it down without a word."""
    room_px = max(header.pixels, _TILE_PX)
    for item in heif_items.coded_items(data, b"av01"):
        sizes_px = av1.frame_sizes(item)
        if not sizes_px or any(width * height > room_px for width, height in sizes_px):
            raise unreadable("The picture's size is not the one that its header gives.")
