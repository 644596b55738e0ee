"""The web console's presentation of the models: `python deploy/console_views.py` writes it from their declarations."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sightline.api.declaration import ModelDeclaration
from sightline.cli.models import find_models, load_declaration

FILE = Path(__file__).parents[1] / "services" / "gateway" / "console" / "views.js"
HEADER = "// Written by `make console` from the declarations in services/*/schemas.py."


def render_views(declarations: Iterable[ModelDeclaration[Any]]) -> str:
    """The script that defines VIEWS, one line for each model."""
    lines = [f"  {json.dumps(each.name)}: {json.dumps(_view(each), ensure_ascii=False)}," for each in declarations]
    return "\n".join([HEADER, '"use strict";', "const VIEWS = {", *lines, "};", ""])


def _view(declaration: ModelDeclaration[Any]) -> dict[str, Any]:
    console = declaration.console
    return {
        "replies": console.replies,
        "picture": console.caption,
        "holes": any(picture.name == "mask" for picture in declaration.pictures),
        "saves": console.downloads,
    }


if __name__ == "__main__":
    FILE.write_text(render_views(map(load_declaration, find_models())), "utf-8")
