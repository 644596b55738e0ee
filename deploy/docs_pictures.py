"""The pictures of the how-to pages: `python deploy/docs_pictures.py URL [FOLDER]` makes them with a running fleet.

All are made of `samples/`, whose licences allow it. Run it again after a change of weights, and compare the captions.
"""

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sightline import Client
from sightline.client.results import FileResult

ROOT = Path(__file__).parents[1]
SAMPLES, FOLDER = ROOT / "samples", ROOT / "docs" / "images" / "howto"
# Pavement, which the model continues, and rocks, in whose place it puts others.
HOLES = ((60, 255, 220, 290), (640, 300, 840, 360))
DARKER_STOPS = 2.5
QUALITY = 82
MAX_BYTES = 120_000


def make_pictures(client: Client) -> Mapping[str, Image.Image]:
    """Returns the pictures by file name."""
    return {
        "inpaint.jpg": _inpaint(client),
        "exposure.jpg": _exposure(client),
        "screening.jpg": _screening(client),
        "materials.jpg": _materials(client),
        "interactions.jpg": _interactions(client),
    }


def _inpaint(client: Client) -> Image.Image:
    """Photo with the outlined holes, filled photo, map of synthesised pixels."""
    regions = {"boxes": HOLES}
    photo = _opened(SAMPLES / "photo.jpg")
    draw = ImageDraw.Draw(photo)
    for hole in HOLES:
        draw.rectangle(hole, outline=(230, 30, 30), width=3)
    filled = client.inpaint(SAMPLES / "photo.jpg", regions=regions).image
    synthesised = client.inpaint(SAMPLES / "photo.jpg", regions=regions, output="map").image
    # The sky has no holes.
    return _stacked([each.convert("RGB").crop((0, 150, 960, 400)) for each in (photo, filled, synthesised)])


def _exposure(client: Client) -> Image.Image:
    dark = darken(_opened(SAMPLES / "photo.jpg"), DARKER_STOPS)
    return _stacked([dark, client.hdr_correct(dark).image.convert("RGB")], width=800)


def _screening(client: Client) -> Image.Image:
    photo = SAMPLES / "astronaut.jpg"
    return _beside([_opened(photo), _image(client, "hra_screening", photo)], 400)


def _materials(client: Client) -> Image.Image:
    """Photo, base colour, normals and roughness; the surface under a light from the right."""
    photo = SAMPLES / "surface.jpg"
    maps = client.material(photo).maps
    relit = _image(client, "svbrdf", photo, light_azimuth_deg=0, light_elevation_deg=20)
    shown = [maps[name].image.convert("RGB") for name in ("basecolor", "normal", "roughness")]
    return _beside([_opened(photo), *shown, relit], 230)


def _interactions(client: Client) -> Image.Image:
    return _beside([_image(client, "hoi", SAMPLES / "astronaut.jpg")], 512)


def _image(client: Client, model: str, photo: Path, **options: Any) -> Image.Image:
    result: FileResult = client.predict(model, {"image": photo}, options, accept="image/png")
    return result.image.convert("RGB")


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def darken(photo: Image.Image, stops: float) -> Image.Image:
    """Returns the photo as a shorter exposure would show it: its linear light divided by two for each stop."""
    encoded = np.asarray(photo) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4) / 2**stops
    darker = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((darker * 255).round().astype(np.uint8))


def _stacked(pictures: Sequence[Image.Image], width: int = 960, gap_px: int = 6) -> Image.Image:
    resized = [each.resize((width, round(each.height * width / each.width))) for each in pictures]
    sheet = Image.new("RGB", (width, sum(each.height + gap_px for each in resized) - gap_px), "white")
    top = 0
    for each in resized:
        sheet.paste(each, (0, top))
        top += each.height + gap_px
    return sheet


def _beside(pictures: Sequence[Image.Image], side_px: int, gap_px: int = 6) -> Image.Image:
    sheet = Image.new("RGB", (len(pictures) * (side_px + gap_px) - gap_px, side_px), "white")
    for index, each in enumerate(pictures):
        sheet.paste(each.resize((side_px, side_px)), (index * (side_px + gap_px), 0))
    return sheet


def encode(picture: Image.Image) -> bytes:
    """Returns a JPEG of at most MAX_BYTES bytes."""
    for quality in range(QUALITY, 30, -6):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= MAX_BYTES:
            break
    return file.getvalue()


def write_pictures(url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Client(url) as client:
        for name, picture in make_pictures(client).items():
            (folder / name).write_bytes(encode(picture))


if __name__ == "__main__":
    write_pictures(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER)
