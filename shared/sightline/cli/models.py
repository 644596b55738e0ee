"""The models that are there: every folder of `services` with a predictor in it."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any, cast

import typer

from sightline.serving.predictor import Predictor
from sightline.serving.settings import ServiceSettings


def find_models() -> tuple[str, ...]:
    """Their names, in alphabetical order; nothing is imported for it."""
    return tuple(sorted(file.parent.name for folder in _services() for file in folder.glob("*/predictor.py")))


def require_models(names: list[str]) -> tuple[str, ...]:
    """The named models, all of them if none is named."""
    found = find_models()
    if unknown := sorted(set(names) - set(found)):
        raise typer.BadParameter(f"there is no model {unknown[0]!r}; there are: {', '.join(found) or 'none'}")
    return tuple(name for name in found if not names or name in names)


def load_predictor(name: str, settings: ServiceSettings) -> Predictor[Any, Any]:
    """By name and not by import, because the library knows no service."""
    require_models([name])
    module = importlib.import_module(f"services.{name}.predictor")
    return cast(Predictor[Any, Any], module.create(settings))


def _services() -> list[Path]:
    spec = importlib.util.find_spec("services")
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
