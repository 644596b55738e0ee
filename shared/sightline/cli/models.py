"""The installed models, which are the folders of `services` with a predictor, and their sample pictures."""

import importlib.util
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import typer

from sightline.api.declaration import ModelDeclaration
from sightline.cli.output import CommandError, did_you_mean
from sightline.inference.predictor import AnyPredictor
from sightline.runtime.deployables import SAMPLES, SERVICES, import_service, install_command
from sightline.serving.settings import ServiceSettings


def find_models() -> tuple[str, ...]:
    """Returns the names of all models in alphabetical order, without importing them."""
    return tuple(sorted(file.parent.name for file in SERVICES.glob("*/predictor.py")))


def normalize_model_name(model: str) -> str:
    """Returns a model's name as in code, `hdr_correct`; accepts also the spelling of URLs, `hdr-correct`."""
    return model.strip().lower().replace("-", "_")


def require_models(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the named models (in either spelling), or all models if none is named."""
    found, wanted = find_models(), {normalize_model_name(name): name for name in names}
    if unknown := sorted(set(wanted) - set(found)):
        raise typer.BadParameter(f"there is no model {wanted[unknown[0]]!r}; {did_you_mean(unknown[0], found)}")
    return tuple(name for name in found if not wanted or name in wanted)


def load_declaration(name: str) -> ModelDeclaration[Any]:
    """Returns the declaration in a model's `schemas`, without importing the inference runtime."""
    return cast(ModelDeclaration[Any], import_service(f"{name}.schemas").DECLARATION)


def load_predictor(name: str, settings: ServiceSettings) -> AnyPredictor:
    """Loads the predictor of a model, in either spelling of its name."""
    (name,) = require_models([name])
    return cast(AnyPredictor, import_service(f"{name}.predictor").create(settings))


def require_runtime() -> None:
    """Raises CommandError if ONNX Runtime is missing; it is an extra, as its builds exclude each other."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise CommandError(
            f"ONNX Runtime, which runs the models, is not installed: {install_command('serve')}, "
            "or with the extra `gpu` for NVIDIA GPUs"
        )


def sample_pictures(model: str) -> dict[str, Path]:
    """Returns the pictures of one example request by field."""
    return {field: SAMPLES / file for field, file in load_declaration(model).samples.items()}


def curl_command(model: str, address: str) -> str:
    """Returns a command that works in any shell and any folder of this machine."""
    declaration = load_declaration(model)
    forms = " ".join(f"-F {shlex.quote(f'{field}=@{path}')}" for field, path in sample_pictures(model).items())
    save = f" -o {declaration.sample_output}" if declaration.sample_output else ""
    return f"curl {forms} {shlex.quote(address + declaration.route)}{save}"
