"""`sightline train|evaluate|export MODEL` and `sightline data`: offline jobs, imported only when they run."""

import importlib
import importlib.util
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli.exit_codes import ExitCode
from sightline.cli.interruption import set_last_line
from sightline.cli.output import CommandError, did_you_mean, printable
from sightline.runtime.deployables import install_command

ACTIONS = {
    "train": "Train a model's network.",
    "evaluate": "Measure a model beside its baselines.",
    "export": "Write a trained network as ONNX, checked against torch.",
}
INTERRUPTED = {
    "train": "interrupted; the same command continues from the last checkpoint, if one was written",
    "evaluate": "interrupted; there is no result. Run the same command again",
    "export": "interrupted; nothing was exported. Run the same command again",
}
MAX_PROBLEMS_SHOWN = 20
PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_training(app: typer.Typer, action_called: str | None) -> None:
    """Adds the four groups; only that of the action called is filled, because filling it imports torch."""
    for action, help_text in ACTIONS.items():
        group = typer.Typer(help=help_text, no_args_is_help=True)
        group.callback()(_prepare)
        if action == action_called:
            _fill(group, action)
        app.add_typer(group, name=action)
    data = typer.Typer(help="Rebuild the sets of pictures that the models are trained on.", no_args_is_help=True)
    data.command("list")(list_manifests)
    data.command("fetch")(fetch_data)
    app.add_typer(data, name="data")


def list_manifests() -> None:
    """Print the names of the manifests that come with Sightline, with their number of files."""
    from sightline.training.manifests import read_manifest, shipped_manifests

    for name, path in shipped_manifests().items():
        typer.echo(f"{name:16} {len(read_manifest(path))} files")


def fetch_data(
    manifest: Annotated[str, typer.Argument(help="Name of a manifest from `sightline data list`, or a CSV file.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to; files that are complete are kept.")],
    source: Annotated[
        list[Path],
        typer.Option("--from", help="Git repository, or a folder of them; repeatable.", exists=True, file_okay=False),
    ],
) -> None:
    """Copy a manifest's files out of local repositories, verified by SHA-256; run it again to continue.

    Exit code 0: the set is complete. 1: files are missing or differ; the reasons are on standard error.
    """
    from sightline.training.manifests import ManifestError, read_manifest, rebuild, shipped_manifests

    path = shipped_manifests().get(manifest, Path(manifest))
    if not path.is_file():
        hint = did_you_mean(manifest, shipped_manifests())
        raise CommandError(f"there is no manifest {printable(manifest)}; {hint}", ExitCode.USAGE)
    try:
        report = rebuild(read_manifest(path), source, out)
    except ManifestError as error:
        raise CommandError(str(error)) from None
    typer.echo(f"{report.written} files written, {report.present} were there, {len(report.problems)} are missing.")
    if report.problems:
        raise CommandError(_missing(report.problems))


def _missing(problems: Mapping[str, str]) -> str:
    """Returns the reasons, the most frequent ones first, each with its number of files."""
    reasons = Counter(problems.values()).most_common()
    lines = [f"{count} files: {reason}" for reason, count in reasons[:MAX_PROBLEMS_SHOWN]]
    rest = len(reasons) - MAX_PROBLEMS_SHOWN
    return "\n  ".join(["the set is incomplete", *lines, *([f"and {rest} more reasons"] if rest > 0 else [])])


def trainable_models() -> tuple[str, ...]:
    spec = importlib.util.find_spec("sightline.training")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return tuple(sorted(file.parent.name for folder in folders for file in folder.glob("*/jobs.py")))


def _prepare(context: typer.Context) -> None:
    action = context.info_name or ""
    set_last_line(lambda: INTERRUPTED[action])
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
    typer.echo(f"This needs PyTorch, which is not installed: make test, or {install_command('train')}", err=True)
    raise typer.Exit(1)
