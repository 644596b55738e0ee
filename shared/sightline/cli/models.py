"""The installed models, which are the folders of `services` with a predictor, and their sample pictures."""

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
    """Returns the names of all models in alphabetical order, without importing them."""
    return tuple(sorted(file.parent.name for folder in _services() for file in folder.glob("*/predictor.py")))


def normalize_model_name(model: str) -> str:
    """Returns a model's name as in code, `hdr_correct`; accepts also the spelling of URLs, `hdr-correct`."""
    return model.strip().lower().replace("-", "_")


def require_models(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the named models (in either spelling), or all models if none is named."""
    found, wanted = find_models(), {normalize_model_name(name): name for name in names}
    if unknown := sorted(set(wanted) - set(found)):
        raise typer.BadParameter(f"there is no model {wanted[unknown[0]]!r}; there are: {', '.join(found) or 'none'}")
    return tuple(name for name in found if not wanted or name in wanted)


def load_declaration(name: str) -> ModelDeclaration[Any]:
    """Returns the declaration in a model's `schemas`, without importing the inference runtime."""
    module = importlib.import_module(f"services.{name}.schemas")
    return cast(ModelDeclaration[Any], module.DECLARATION)


def load_predictor(name: str, settings: ServiceSettings) -> AnyPredictor:
    """Loads a predictor by name, because the library must not import services."""
    (name,) = require_models([name])
    module = importlib.import_module(f"services.{name}.predictor")
    return cast(AnyPredictor, module.create(settings))


def require_runtime() -> None:
    """Raises CommandError if ONNX Runtime is missing; it is an extra, as its builds exclude each other."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise CommandError(
            "ONNX Runtime, which runs the models, is not installed: pip install 'sightline[cpu]', "
            "or 'sightline[gpu]' for NVIDIA GPUs"
        )


def _services() -> list[Path]:
    spec = importlib.util.find_spec("services")
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def sample_pictures(model: str) -> dict[str, Path]:
    """Returns the pictures of one example request by field."""
    return {field: SAMPLES / file for field, file in load_declaration(model).samples.items()}


def curl_command(model: str, address: str) -> str:
    """Returns a command that works in any shell and any folder of this machine."""
    declaration = load_declaration(model)
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = f" -o {declaration.sample_output}" if declaration.sample_output else ""
    return f"curl {forms} {shlex.quote(address + declaration.route)}{save}"
