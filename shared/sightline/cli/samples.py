"""The pictures that the repository brings along."""

import shlex
from pathlib import Path

from sightline.cli.models import load_declaration

FOLDER = Path(__file__).parents[3] / "samples"


def sample_pictures(model: str) -> dict[str, Path]:
    """A request's worth of pictures by field."""
    return {field: FOLDER / file for field, file in load_declaration(model).samples.items()}


def curl_line(model: str, address: str) -> str:
    """A command that works in any shell and any folder of this machine."""
    declaration = load_declaration(model)
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = f" -o {declaration.sample_output}" if declaration.sample_output else ""
    return f"curl {forms} {shlex.quote(address + declaration.route)}{save}"
