"""`sightline train|evaluate|export MODEL`: offline jobs, which need torch and are imported only when asked for."""

import importlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

ACTIONS = {
    "train": "Train a model's network.",
    "evaluate": "Measure a model beside its baselines.",
    "export": "Write a trained network as ONNX, checked against torch.",
}
PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_training(app: typer.Typer, action_called: str | None) -> None:
    """Adds the three groups; only that of the action called is filled, because filling it imports torch."""
    for action, help_text in ACTIONS.items():
        group = typer.Typer(help=help_text, no_args_is_help=True)
        group.callback()(_configure_logging)
        if action == action_called:
            _fill(group, action)
        app.add_typer(group, name=action)


def trainable_models() -> tuple[str, ...]:
    spec = importlib.util.find_spec("sightline.training")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return tuple(sorted(file.parent.name for folder in folders for file in folder.glob("*/jobs.py")))


def _configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request


def _fill(group: typer.Typer, action: str) -> None:
    has_torch = importlib.util.find_spec("torch") is not None
    for model in trainable_models():
        if not has_torch:
            _add(group, model, _refuse_without_torch, context_settings=PASS_THROUGH)
        elif job := _job(model, action):
            _add(group, model, job)


def _add(group: typer.Typer, model: str, command: Callable[..., Any], **options: Any) -> None:
    """In both spellings; the help text lists one of them."""
    group.command(model, **options)(command)
    if "_" in model:
        group.command(model.replace("_", "-"), hidden=True, **options)(command)


def _job(model: str, action: str) -> Callable[..., Any] | None:
    job: Callable[..., Any] | None = getattr(importlib.import_module(f"sightline.training.{model}.jobs"), action, None)
    return job


def _refuse_without_torch() -> None:
    typer.echo("This needs PyTorch, which is not installed: pip install 'sightline[cpu,train]'", err=True)
    raise typer.Exit(1)
