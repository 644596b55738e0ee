import io
import struct
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.formats import ImageFormat
from sightline.imaging.limits import PixelLimits

Photo = NDArray[np.uint8]
Save = Callable[..., bytes]


def test_avif_orientation_is_applied_by_the_decoder(photo: Photo, save: Save, limits: PixelLimits) -> None:
    picture = decode(save(photo, "AVIF", orientation=6, quality=95), limits)
    assert picture.orientation == 1
    assert np.abs(picture.pixels.astype(float) - np.rot90(photo, -1)).mean() < 4


def test_heic_exif_orientation_is_not_applied_twice(photo: Photo, limits: PixelLimits) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photo)).save(file, quality=95, exif=exif.tobytes())
    picture = decode(file.getvalue(), limits)
    assert picture.orientation == 1
    assert np.abs(picture.pixels.astype(float) - np.rot90(photo, -1)).mean() < 4


def test_heic_format_is_heic(files: dict[str, bytes], limits: PixelLimits) -> None:
    assert decode(files["heic"], limits).format is ImageFormat.HEIC


def test_avif_frame_larger_than_its_header_is_refused(save: Save, limits: PixelLimits) -> None:
    """The decoder would decode the large frame whole, and then scale it to the size in the header."""
    data = save(np.zeros((1500, 2000, 3), np.uint8), "AVIF", speed=10)
    true_size, false_size = (struct.pack(">4sIII", b"ispe", 0, *size_px) for size_px in ((2000, 1500), (640, 480)))
    assert true_size in data
    with pytest.raises(Problem, match="header"):
        decode(data.replace(true_size, false_size), limits)
