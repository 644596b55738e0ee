"""`sightline predict`: runs one model on one picture, in this process or on a server."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from sightline.api.declaration import ModelDeclaration
from sightline.api.media_types import BY_SUFFIX, JSON
from sightline.api.problems import Code, Problem
from sightline.cli.arguments import validate_options
from sightline.cli.exit_codes import ExitCode, exit_code_of
from sightline.cli.interruption import Interrupted, interrupted_by_signals, last_line
from sightline.cli.models import find_models, load_declaration, normalize_model_name, require_models, require_runtime
from sightline.cli.output import (
    STANDARD_STREAM,
    CommandError,
    console,
    did_you_mean,
    print_json,
    printable,
    read_file,
    require_binary_output,
    require_writable,
    write_standard_output,
    write_whole,
)
from sightline.cli.prediction import PredictionResult, local_result, remote_result
from sightline.cli.server_client import ServerClient
from sightline.cli.summary import print_summary
from sightline.client import InvalidRequest, JobStatus, NotFound, SightlineError
from sightline.inference.predictor import Upload
from sightline.serving.settings import ServiceSettings

MODEL_NAME = re.compile(r"[a-z0-9_]{1,100}")
UNREADABLE = (Code.UNREADABLE_IMAGE, Code.UNSUPPORTED_FORMAT)
READABLE = "give an intact JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF file"
UNKNOWN_ROUTE = (InvalidRequest, NotFound)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictArguments:
    """Arguments of the command; see its help."""

    model: str
    photo: Path
    out: Path | None
    suffix: str | None
    mask: Path | None
    options: Mapping[str, str]
    url: str | None
    api_key: str | None
    as_json: bool


def predict(arguments: PredictArguments) -> None:
    """Checks the arguments, then runs the model, writes the result and prints its summary."""
    model = _model(arguments)
    media_type = _media_type(arguments, _declaration(model))
    _check_output(arguments, media_type)
    pictures = {"image": read_file(arguments.photo)}
    if arguments.mask is not None:
        pictures["mask"] = read_file(arguments.mask)
    with last_line(lambda: "interrupted; nothing was written. Run the same command again"):
        if arguments.url is None:
            result = _predict_locally(arguments, model, pictures, media_type)
        else:
            result = _predict_remotely(arguments, model, pictures, media_type)
    _write(result, arguments)


def _model(arguments: PredictArguments) -> str:
    """Returns the model's name as in code; that of a server may not be installed here."""
    if arguments.url is None:
        return require_models([arguments.model])[0]
    name = normalize_model_name(arguments.model)
    if not MODEL_NAME.fullmatch(name):
        raise typer.BadParameter(f"{arguments.model!r} is not the name of a model")
    return name


def _declaration(model: str) -> ModelDeclaration[Any] | None:
    return load_declaration(model) if model in find_models() else None


def _media_type(arguments: PredictArguments, declaration: ModelDeclaration[Any] | None) -> str:
    """Returns the requested type: by --format, by the output's suffix, or the model's first one."""
    offered = declaration.media_types if declaration else tuple(BY_SUFFIX.values())
    out, suffix = arguments.out, arguments.suffix
    if suffix is None and (out is None or out == STANDARD_STREAM):
        if out is None and declaration is not None and declaration.media_types[0] != JSON and not arguments.as_json:
            example = next(name for name, each in BY_SUFFIX.items() if each == offered[0])
            raise typer.BadParameter(f"name the output file with -o, such as -o result{example}; -o - is a pipe")
        return JSON if declaration is None or out is None else offered[0]
    wanted = f".{suffix.lower().lstrip('.')}" if suffix is not None else (out or Path()).suffix.lower()
    if BY_SUFFIX.get(wanted) in offered:
        return BY_SUFFIX[wanted]
    choices = " ".join(name for name, each in BY_SUFFIX.items() if each in offered)
    shown = printable(suffix if suffix is not None else str(out))
    reason = f"the suffix of {shown} must be" if suffix is None else f"{shown} is no format here; it must be"
    raise typer.BadParameter(f"{arguments.model} writes no such file: {reason} one of {choices}")


def _check_output(arguments: PredictArguments, media_type: str) -> None:
    out = arguments.out
    if arguments.photo == arguments.mask == STANDARD_STREAM:
        raise typer.BadParameter("only one of photo and mask can come from standard input")
    if out == STANDARD_STREAM:
        if arguments.as_json:
            raise typer.BadParameter("-o - and --json both write to standard output: choose one")
        if not media_type.endswith("json"):
            require_binary_output()
    elif out is not None:
        inputs = [each for each in (arguments.photo, arguments.mask) if each and each != STANDARD_STREAM]
        require_writable(out, inputs=[each for each in inputs if each.exists()])


def _write(result: PredictionResult, arguments: PredictArguments) -> None:
    out = arguments.out
    if out == STANDARD_STREAM:
        write_standard_output(result.body)
    elif out is not None:
        write_whole(out, result.body)
    if arguments.as_json:
        print_json(_facts(result, arguments))
        return
    shown = console(stderr=out == STANDARD_STREAM)
    print_summary(result, shown)
    if out is not None and out != STANDARD_STREAM:
        shown.print(Text(f"Wrote {printable(str(out))} ({len(result.body)} bytes)."), soft_wrap=True)


def _facts(result: PredictionResult, arguments: PredictArguments) -> dict[str, Any]:
    return {
        "model": result.model,
        "photo": printable(str(arguments.photo)),
        "out": None if arguments.out is None else printable(str(arguments.out)),
        "media_type": result.media_type,
        "size_bytes": len(result.body),
        "request_id": result.request_id,
        "headers": {name: value for name, value in result.headers.items() if name.startswith("x-sightline-")},
        "record": result.record,
    }


def _predict_locally(
    arguments: PredictArguments, model: str, pictures: Mapping[str, bytes], media_type: str
) -> PredictionResult:
    declaration = load_declaration(model)
    upload = Upload(_only_known(declaration, pictures), validate_options(declaration.options, arguments.options))
    require_runtime()
    # The inference runtime takes a second to import, which a request to a server does not need.
    from sightline.cli.local_model import load_local_model

    local = load_local_model(model, ServiceSettings())
    try:
        return local_result(model, local.answer_with_record(upload, media_type))
    except Problem as problem:
        raise CommandError(_explain(problem, arguments), exit_code_of(problem)) from problem


def _explain(problem: Problem, arguments: PredictArguments) -> str:
    file = arguments.mask if problem.code is Code.BAD_MASK and arguments.mask else arguments.photo
    formats = f"; {READABLE}" if problem.code in UNREADABLE else ""
    return f"{printable(str(file))}: {problem.detail.rstrip('.')}{formats}"


def _only_known(declaration: ModelDeclaration[Any], pictures: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    fields = {picture.name for picture in declaration.pictures}
    if unknown := sorted(set(pictures) - fields):
        raise CommandError(
            f"{declaration.name} takes no picture {unknown[0]!r}, only {', '.join(sorted(fields))}", ExitCode.USAGE
        )
    return {name: [data] for name, data in pictures.items()}


def _predict_remotely(
    arguments: PredictArguments, model: str, pictures: Mapping[str, bytes], media_type: str
) -> PredictionResult:
    """Returns the server's result in the requested type; raises SightlineError for any other reply."""
    with (
        _job_display() as display,
        interrupted_by_signals(),
        ServerClient(arguments.url or "", arguments.api_key, notify=display.note) as server,
        _cancelled_if_interrupted(server, display),
    ):
        try:
            reply = server.reply_of(model, pictures, arguments.options, accept=media_type, progress=display.show)
        except UNKNOWN_ROUTE as error:
            # A gateway may reject the size of a request before it notices that it has no such model.
            if display.job is None and server.lacks_model(model):
                raise _unknown_model(server, model) from error
            raise
    return remote_result(model, reply, media_type)


def _unknown_model(server: ServerClient, model: str) -> CommandError:
    names = server.model_names()
    if names is None:
        return CommandError(f"{server.address} is not the address of a fleet", ExitCode.UNREACHABLE)
    return CommandError(f"{server.address} has no model {model}; {did_you_mean(model, names)}", ExitCode.USAGE)


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
