"""`sightline predict`: runs one model on one picture, in this process or on a server."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from sightline.api.declaration import ModelDeclaration
from sightline.api.media_types import BY_SUFFIX, SIGNATURES
from sightline.cli.arguments import parse_options, validate_options
from sightline.cli.interruption import Interrupted, interrupted_by_signals
from sightline.cli.models import normalize_model_name, require_models, require_runtime
from sightline.cli.output import CommandError, printable, require_writable, write_whole
from sightline.cli.server_client import ServerClient
from sightline.client import InvalidRequest, JobStatus, NotFound, SightlineError
from sightline.client.results import FileResult
from sightline.inference.predictor import Upload
from sightline.serving.settings import ServiceSettings

MODEL_NAME = re.compile(r"[a-z0-9_]{1,100}")
UNKNOWN_ROUTE = (InvalidRequest, NotFound)


def predict(
    model: str,
    photo: Path,
    out: Path,
    *,
    mask: Path | None,
    options: Sequence[str],
    url: str | None,
    api_key: str | None,
) -> None:
    """Checks the arguments, then runs the model and writes the result."""
    media_type, values = _media_type(out), parse_options(options)
    require_writable(out, inputs=[photo, *([mask] if mask else [])])
    pictures = {"image": _read(photo)} | ({"mask": _read(mask)} if mask else {})
    if url is None:
        body = _predict_locally(model, pictures, values, media_type)
    else:
        body = _predict_remotely(url, api_key, model, pictures, values, media_type)
    write_whole(out, body)
    typer.echo(f"Wrote {printable(str(out))} ({len(body)} bytes).")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{printable(str(path))} cannot be read: {error.strerror}") from None


def _media_type(out: Path) -> str:
    try:
        return BY_SUFFIX[out.suffix.lower()]
    except KeyError:
        shown = printable(str(out))
        raise typer.BadParameter(f"the suffix of {shown} must be one of {' '.join(BY_SUFFIX)}") from None


def _predict_locally(model: str, pictures: Mapping[str, bytes], values: Mapping[str, str], media_type: str) -> bytes:
    (model,) = require_models([model])
    require_runtime()
    # The inference runtime takes a second to import, which a request to a server does not need.
    from sightline.cli.local_model import load_local_model

    local = load_local_model(model, ServiceSettings())
    declaration = local.predictor.declaration
    if media_type not in declaration.media_types:
        raise CommandError(f"{model} answers with {', '.join(declaration.media_types)}, not with {media_type}")
    upload = Upload(_only_known(declaration, pictures), validate_options(declaration.options, values))
    return local.answer(upload, media_type).body


def _only_known(declaration: ModelDeclaration[Any], pictures: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    fields = {picture.name for picture in declaration.pictures}
    if unknown := sorted(set(pictures) - fields):
        raise CommandError(f"{declaration.name} takes no picture {unknown[0]!r}, only {', '.join(sorted(fields))}")
    return {name: [data] for name, data in pictures.items()}


def _predict_remotely(
    url: str,
    api_key: str | None,
    model: str,
    pictures: Mapping[str, bytes],
    values: Mapping[str, str],
    media_type: str,
) -> bytes:
    """Returns the server's result in the requested type; raises SightlineError for any other reply."""
    model = normalize_model_name(model)
    if not MODEL_NAME.fullmatch(model):
        raise typer.BadParameter(f"{model!r} is not the name of a model")
    with (
        _job_display() as display,
        interrupted_by_signals(),
        ServerClient(url, api_key, notify=display.note) as server,
        _cancelled_if_interrupted(server, display),
    ):
        try:
            result = server.predict(model, pictures, values, accept=media_type, progress=display.show)
        except UNKNOWN_ROUTE as error:
            # A gateway may reject the size of a request before it notices that it has no such model.
            if display.job is None and server.lacks_model(model):
                place = "is not the address of a fleet" if server.lacks_models() else f"has no model {model}"
                raise CommandError(f"{server.address} {place}") from error
            raise
    _require_signature(result, media_type)
    return result.data


@contextmanager
def _cancelled_if_interrupted(server: ServerClient, display: "_JobDisplay") -> Iterator[None]:
    """Cancels the job on a signal; a second signal does not wait for the server's confirmation."""
    try:
        yield
    except Interrupted:
        if (job := display.job) is None:
            raise
        try:
            server.cancel(job.id)
            typer.echo(f"Cancelled job {job.id}.", err=True)
        except (Interrupted, SightlineError):
            typer.echo(
                f"Job {job.id} may still be running: DELETE {server.address}/v1/jobs/{job.id} ends it.", err=True
            )
        raise


class _JobDisplay:
    """Shows a job's state: one changing line on a terminal, elsewhere a line for each state and stage."""

    def __init__(self, console: Console, status: Status | None) -> None:
        self._console, self._status = console, status
        self.job: JobStatus | None = None
        self._shown: tuple[str, str | None] | None = None

    def show(self, job: JobStatus) -> None:
        self.job = job
        if self._status is not None:
            self._status.update(Text(str(job)))
        elif (job.state, job.stage) != self._shown:
            self.note(str(job))
        self._shown = job.state, job.stage

    def note(self, message: str) -> None:
        self._console.print(printable(message), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _job_display() -> Iterator[_JobDisplay]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _JobDisplay(console, None)
        return
    with console.status("") as status:
        yield _JobDisplay(console, status)


def _require_signature(result: FileResult, media_type: str) -> None:
    """Raises CommandError if the body is not of the type, so that it is not written."""
    if not _has_signature(result.data, media_type):
        raise CommandError(f"the server sent a body that is not {media_type}, although it says so; nothing was written")


def _has_signature(body: bytes, media_type: str) -> bool:
    # A proxy's error page may carry the requested media type by mistake.
    if signature := SIGNATURES.get(media_type):
        return body.startswith(signature)
    if not media_type.endswith("json"):
        return bool(body)
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
