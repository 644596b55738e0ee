import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.imaging.decoder.cost_bounds import is_bounded_by_header
from sightline.imaging.header import require_header
from tests.imaging import hostile

SAMPLES = Path(__file__).parents[3] / "samples"


def is_bounded(data: bytes) -> bool:
    return is_bounded_by_header(data, require_header(data))


def photo(image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.open(SAMPLES / "photo.jpg").save(file, image_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.jpg", "astronaut.jpg", "surface.jpg", "mask.png"])
def test_sample_photos_are_bounded(name: str) -> None:
    assert is_bounded((SAMPLES / name).read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        photo("PNG"),
        photo("PNG", compress_level=0),
        photo("JPEG", progressive=True),
        photo("WEBP"),
        hostile.jpeg_of_scans(3, side_px=800),
        hostile.png(before=hostile.chunk(b"tEXt", b"Title\0a photo")),
        hostile.png(behind=hostile.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")),
    ],
    ids=["png", "stored png", "progressive", "webp", "few scans", "text", "xmp"],
)
def test_common_files_are_bounded(data: bytes) -> None:
    assert is_bounded(data)


@pytest.mark.parametrize(
    "data",
    [
        hostile.png(surplus_mb=1),
        hostile.png(before=hostile.packed_texts(1) * 9),
        hostile.png(behind=hostile.packed_texts(9, b"iTXt")),
        hostile.png(behind=hostile.chunk(b"IDAT", b"") * 9000),
        hostile.png(before=hostile.chunk(b"iCCP", b"p\0\0") * 2),
        hostile.jpeg_of_scans(150, side_px=3000),
        hostile.jpeg_of_scans(150, side_px=3000, hidden=True),
        photo("WEBP", lossless=True),
        photo("TIFF"),
        photo("AVIF"),
    ],
    ids=["surplus", "texts", "late texts", "chunks", "profiles", "scans", "hidden scans", "webp", "tiff", "avif"],
)
def test_other_files_are_not_bounded(data: bytes) -> None:
    assert not is_bounded(data)


def test_incompressible_png_is_bounded() -> None:
    values = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    assert is_bounded(file.getvalue())
