"""The models that are there: every folder of `services` with a predictor in it."""

import importlib
import importlib.util
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import typer

from sightline.api.declaration import ModelDeclaration
from sightline.cli.output import CommandError
from sightline.inference.predictor import AnyPredictor
from sightline.serving.settings import ServiceSettings

SAMPLES = Path(__file__).parents[3] / "samples"


def find_models() -> tuple[str, ...]:
    """Their names, in alphabetical order; nothing is imported for it."""
    return tuple(sorted(file.parent.name for folder in _services() for file in folder.glob("*/predictor.py")))


def normalize_model_name(model: str) -> str:
    """A model's name as its folder spells it: people also type it as URLs do, `hdr-correct`."""
    return model.strip().lower().replace("-", "_")


def require_models(names: Iterable[str]) -> tuple[str, ...]:
    """The named models in either spelling, all of them if none is named."""
    found, wanted = find_models(), {normalize_model_name(name): name for name in names}
    if unknown := sorted(set(wanted) - set(found)):
        raise typer.BadParameter(f"there is no model {wanted[unknown[0]]!r}; there are: {', '.join(found) or 'none'}")
    return tuple(name for name in found if not wanted or name in wanted)


def load_declaration(name: str) -> ModelDeclaration[Any]:
    """The declaration in a model's `schemas`, for which no runtime is imported."""
    module = importlib.import_module(f"services.{name}.schemas")
    return cast(ModelDeclaration[Any], module.DECLARATION)


def load_predictor(name: str, settings: ServiceSettings) -> AnyPredictor:
    """By name and not by import, because the library knows no service."""
    (name,) = require_models([name])
    module = importlib.import_module(f"services.{name}.predictor")
    return cast(AnyPredictor, module.create(settings))


def require_runtime() -> None:
    """CommandError where ONNX Runtime is not installed: it is left to the extras, as its builds exclude each other."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise CommandError(
            "ONNX Runtime, which runs the models, is not installed: pip install 'sightline[cpu]', "
            "or 'sightline[gpu]' for NVIDIA GPUs"
        )


def _services() -> list[Path]:
    spec = importlib.util.find_spec("services")
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def sample_pictures(model: str) -> dict[str, Path]:
    """A request's worth of pictures by field."""
    return {field: SAMPLES / file for field, file in load_declaration(model).samples.items()}


def curl_command(model: str, address: str) -> str:
    """A command that works in any shell and any folder of this machine."""
    declaration = load_declaration(model)
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = f" -o {declaration.sample_output}" if declaration.sample_output else ""
    return f"curl {forms} {shlex.quote(address + declaration.route)}{save}"
