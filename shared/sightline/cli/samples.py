"""The photo and the mask that the repository brings along."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from sightline.api.routes import route_of

FOLDER = Path(__file__).parents[3] / "samples"
FILES: Mapping[str, str] = {"image": "photo.jpg", "mask": "mask.png"}
TAKES_MASK = frozenset({"inpaint"})
ANSWERS_WITH_PICTURE = frozenset({"inpaint", "hdr_correct"})


def sample_pictures(model: str) -> dict[str, Path]:
    """A request's worth of pictures by field."""
    fields = ("image", "mask") if model in TAKES_MASK else ("image",)
    return {field: FOLDER / FILES[field] for field in fields}


def curl_line(model: str, address: str) -> str:
    """A command that works in any shell and any folder of this machine."""
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = " -o out.png" if model in ANSWERS_WITH_PICTURE else ""
    return f"curl {forms} {shlex.quote(address + route_of(model))}{save}"
