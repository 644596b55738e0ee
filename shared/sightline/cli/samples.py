"""The pictures that the repository brings along."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from sightline.api.routes import route_of

FOLDER = Path(__file__).parents[3] / "samples"
PHOTO = {"image": "photo.jpg"}
PICTURES: Mapping[str, Mapping[str, str]] = {
    "inpaint": PHOTO | {"mask": "mask.png"},
    "svbrdf": {"image": "surface.jpg"},
    "hoi": {"image": "astronaut.jpg"},
}
SAVED_AS = {"inpaint": "out.png", "hdr_correct": "out.png", "svbrdf": "material.zip"}


def sample_pictures(model: str) -> dict[str, Path]:
    """A request's worth of pictures by field."""
    return {field: FOLDER / file for field, file in PICTURES.get(model, PHOTO).items()}


def curl_line(model: str, address: str) -> str:
    """A command that works in any shell and any folder of this machine."""
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = f" -o {SAVED_AS[model]}" if model in SAVED_AS else ""
    return f"curl {forms} {shlex.quote(address + route_of(model))}{save}"
