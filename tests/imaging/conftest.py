"""Picture files of every format, and colour profiles, as fixtures."""

import io
import struct
from collections.abc import Callable
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from sightline.imaging.limits import PixelLimits

Save = Callable[..., bytes]
Array = NDArray[Any]

HEIGHT, WIDTH = 64, 128  # multiples of the coding blocks, so that no format pads or crops


@pytest.fixture(scope="session")
def limits() -> PixelLimits:
    return PixelLimits(max_bytes=4 << 20, max_pixels=1 << 20)


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """(64, 128, 3), smooth and different in every corner."""
    noise = np.random.default_rng(7).random((HEIGHT, WIDTH, 3))
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 6))
    return np.asarray(np.rint(20 + 215 * (smooth - smooth.min()) / np.ptp(smooth)), np.uint8)


@pytest.fixture(scope="session")
def save() -> Save:
    return _save


@pytest.fixture(scope="session")
def files(photo: NDArray[np.uint8]) -> dict[str, bytes]:
    """One file per format and kind, named format-kind."""
    grey, image = photo[..., 0], Image.fromarray(photo)
    turned = Image.fromarray(photo[:, ::-1].copy())
    deep = photo.astype(np.uint16) * 257
    palette = image.quantize(64)
    return {
        "jpeg": _save(photo, "JPEG"),
        "jpeg-progressive": _save(photo, "JPEG", progressive=True),
        "jpeg-grey": _save(grey, "JPEG"),
        "jpeg-cmyk": _save(np.asarray(image.convert("CMYK")), "JPEG", mode="CMYK"),
        "png": _save(photo, "PNG"),
        "png-16": bytes(imagecodecs.png_encode(deep)),
        "png-palette": _save_image(palette, "PNG"),
        "png-bilevel": _save_image(image.convert("1"), "PNG"),
        "png-alpha": _save(np.dstack([photo, grey]), "PNG"),
        "png-grey-alpha": _save(np.dstack([grey, photo[..., 1]]), "PNG"),
        "png-animated": _save(photo, "PNG", save_all=True, append_images=[turned]),
        "webp": _save(photo, "WEBP"),
        "webp-lossless": _save(np.dstack([photo, grey]), "WEBP", lossless=True),
        "webp-animated": _save(photo, "WEBP", save_all=True, append_images=[turned]),
        "gif": _save_image(palette, "GIF"),
        "gif-animated": _save_image(palette, "GIF", save_all=True, append_images=[turned]),
        "tiff": _save(photo, "TIFF"),
        "tiff-big-endian": _save_tiff(photo, byteorder=">", photometric="rgb"),
        "tiff-bigtiff": _save_tiff(deep, bigtiff=True, photometric="rgb", compression="deflate", predictor=2),
        "tiff-lzw": _save_tiff(photo, photometric="rgb", compression="lzw", rowsperstrip=8),
        "tiff-tiled": _save_tiff(np.moveaxis(photo, -1, 0), photometric="rgb", planarconfig="separate", tile=(32, 32)),
        "tiff-jpeg": _save(photo, "TIFF", compression="jpeg"),
        "tiff-fax": _save_image(image.convert("1"), "TIFF", compression="group4"),
        "avif": _save(photo, "AVIF"),
        "heic": _save_heic(image),
    }


@pytest.fixture(scope="session")
def save_tiff() -> Save:
    return _save_tiff


@pytest.fixture(scope="session")
def wide_profile() -> bytes:
    """The primaries and white point of Display P3, with a gamma of 2.2."""
    primaries = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290), primaries=primaries, gamma=2.2))


@pytest.fixture(scope="session")
def grey_profile() -> bytes:
    return bytes(imagecodecs.cms_profile("gray", gamma=1.0))


@pytest.fixture(scope="session")
def srgb_profile() -> bytes:
    return bytes(imagecodecs.cms_profile("srgb"))


@pytest.fixture(scope="session")
def cmyk_profile() -> bytes:
    """A press whose cyan is a dull green, so that it cannot be mistaken for an ideal ink."""
    return _cmyk_profile()


def _save(pixels: Array, format: str, *, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels) if mode is None else Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    return _save_image(image, format, **options)


def _save_image(image: Image.Image, format: str, *, orientation: int | None = None, **options: Any) -> bytes:
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][274] = orientation
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _save_tiff(pixels: Array, *, byteorder: Any = "<", bigtiff: bool = False, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byteorder, bigtiff=bigtiff) as writer:
        writer.write(pixels, **options)
    return file.getvalue()


def _save_heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


def _cmyk_profile() -> bytes:
    """Returns a minimal profile of 8-bit tables (ICC.1, `mft1`) with two grid points per ink."""
    lab = [_ink_lab(cyan, magenta, yellow, black) for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2)]
    identity = [65536 if row == column else 0 for row in range(3) for column in range(3)]
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *identity)
    table += ramp * 4 + bytes(value for entry in lab for value in entry) + ramp * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 144 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"", b"acsp"
    )
    white = struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(68, b"\0") + white.ljust(60, b"\0") + tags + table


def _ink_lab(cyan: int, magenta: int, yellow: int, black: int) -> tuple[int, int, int]:
    """L in 0..255, a and b around 128."""
    light = (1 - 0.5 * cyan) * (1 - 0.5 * magenta) * (1 - 0.1 * yellow) * (1 - black)
    return round(255 * light), 128 + round(light * (60 * magenta - 40 * cyan)), 128 + round(light * 70 * yellow)
