"""`sightline batch`: runs one model on every picture of a folder or an object store."""

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass

import typer

from sightline.api.media_types import BY_SUFFIX
from sightline.cli.arguments import validate_options
from sightline.cli.batch.manifest import BatchEntry, BatchSettings, Manifest, open_manifest
from sightline.cli.batch.predictors import BatchPredictor, LocalPredictor, RemotePredictor
from sightline.cli.batch.ray_data import ActorModel, RayOptions, process_on_ray, require_ray
from sightline.cli.batch.run import BatchRun, BatchWork, unfinished
from sightline.cli.batch.sources import Shard, SourceFile, open_destination, open_source
from sightline.cli.exit_codes import ExitCode
from sightline.cli.interruption import StopRequest
from sightline.cli.models import load_declaration, require_models
from sightline.cli.output import CommandError, note, printable
from sightline.cli.progress import NotePrinter, ProgressMeter, progress_meter
from sightline.cli.screening.clients import stoppable_pause
from sightline.imaging.decoder import pool as decoder_pool
from sightline.runtime.resources import available_cores

SCREEN = "screen"
"""Another name of `hra_screening`, after the command that screens a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchArguments:
    """Arguments of the command; see its help."""

    model: str
    source: str
    out: str
    suffix: str | None
    masks: str | None
    options: Mapping[str, str]
    url: str | None
    api_key: str | None
    concurrency: int
    shard: Shard
    every_file: bool
    retry_failed: bool
    anew: bool
    ray: RayOptions | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Numbers of pictures, and seconds of this run."""

    pictures: int
    done_before: int
    done: int
    failed: int
    unfinished: int
    seconds: float


def batch(arguments: BatchArguments) -> None:
    """Processes all pictures that have no result yet. Every way of ending leaves a manifest to continue from."""
    try:
        name, suffix, media_type = _checked(arguments)
    except CommandError as error:
        # With the exit code of wrong usage, so that no supervisor tries again.
        raise typer.BadParameter(str(error)) from None
    if arguments.ray is not None:
        require_ray()
    stop, notes = StopRequest(), NotePrinter()
    source = open_source(arguments.source, every_file=arguments.every_file, leaving_out=arguments.out)
    masks = open_source(arguments.masks, every_file=True, leaving_out="") if arguments.masks else None
    work = BatchWork(source, masks, open_destination(arguments.out), suffix)
    with _predictors(name, media_type, arguments, stop, notes) as predictors:
        settings = BatchSettings(model=predictors[0].model, media_type=media_type, options=dict(arguments.options))
        with open_manifest(arguments.out, settings, shard=arguments.shard, anew=arguments.anew) as manifest:
            files = [file for file in source.files() if arguments.shard.holds(file.name)]
            if not files and arguments.shard.is_all:
                remarks = " ".join(source.remarks)
                raise CommandError(f"there are no pictures in {printable(arguments.source)}. {remarks}")
            todo = unfinished(iter(files), manifest, retry_failed=arguments.retry_failed)
            started_at = time.monotonic()
            on_cluster = None
            if arguments.ray is not None:
                on_cluster = process_on_ray(todo, ActorModel(name, settings), work, arguments.ray)
            failure = _run(todo, work, manifest, predictors, on_cluster, stop, notes)
            summary = _summary(files, todo, manifest, time.monotonic() - started_at)
    _print(summary, source.remarks, arguments)
    _finish(summary, failure, stop)


def _checked(arguments: BatchArguments) -> tuple[str, str, str]:
    """Returns the model's name, and the suffix and media type of the results; raises CommandError for wrong ones."""
    name = "hra_screening" if arguments.model == SCREEN else require_models([arguments.model])[0]
    suffix, media_type = _format(name, arguments.suffix)
    _check_masks(name, arguments)
    validate_options(load_declaration(name).options, arguments.options)
    if arguments.source.rstrip("/") == arguments.out.rstrip("/"):
        raise CommandError("results beside their pictures would be taken for pictures; choose another --out")
    if arguments.anew and not arguments.shard.is_all:
        raise CommandError("--anew discards the results of all shards; use it without --shard")
    return name, suffix, media_type


def _format(name: str, suffix: str | None) -> tuple[str, str]:
    """Returns the suffix and media type of the results; raises CommandError for a type that the model has not."""
    offered = load_declaration(name).media_types
    known = [known for known, media_type in BY_SUFFIX.items() if media_type in offered]
    if suffix is None:
        return next(each for each in known if BY_SUFFIX[each] == offered[0]), offered[0]
    wanted = f".{suffix.lower().lstrip('.')}"
    if BY_SUFFIX.get(wanted) not in offered:
        choices = ", ".join(each[1:] for each in known)
        raise CommandError(f"{name} has no results as {printable(suffix)}; --format takes {choices}")
    return wanted, BY_SUFFIX[wanted]


def _check_masks(name: str, arguments: BatchArguments) -> None:
    takes_mask = any(picture.name == "mask" for picture in load_declaration(name).pictures)
    if arguments.masks and not takes_mask:
        raise CommandError(f"{name} takes no masks; leave out --masks")


@contextmanager
def _predictors(
    name: str, media_type: str, arguments: BatchArguments, stop: StopRequest, notes: NotePrinter
) -> Iterator[Sequence[BatchPredictor]]:
    if arguments.url is not None:
        remote = RemotePredictor(
            arguments.url,
            name,
            media_type,
            arguments.options,
            api_key=arguments.api_key,
            pause=stoppable_pause(stop),
            notify=notes,
        )
        with closing(remote):
            yield [remote] * arguments.concurrency
        return
    first = LocalPredictor(name, media_type, arguments.options)
    # One model per core is faster than one on all cores; on a GPU one model is enough. Ray's actors load their own.
    others = available_cores() - 1 if first.on_cpu and arguments.ray is None else 0
    yield [first, *(LocalPredictor(name, media_type, arguments.options) for _ in range(others))]


def _run(
    todo: Sequence[SourceFile],
    work: BatchWork,
    manifest: Manifest,
    predictors: Sequence[BatchPredictor],
    on_cluster: Generator[BatchEntry] | None,
    stop: StopRequest,
    notes: NotePrinter,
) -> Exception | None:
    """Returns the error that ended the run early, if any."""
    if not todo:
        return None
    with stop.handling_signals(), progress_meter(len(todo), manifest.settings.model.partition("@")[0]) as meter:
        notes.show = meter.note
        try:
            if on_cluster is None:
                BatchRun(work, manifest, predictors, meter, stop).run(todo)
            else:
                _record(on_cluster, manifest, meter, stop)
        except Exception as error:  # the summary is printed whatever the error
            return error
        finally:
            stop.request()  # ends threads that wait for a server
            if stop.by_signal:
                decoder_pool.stop()  # ends threads that wait for a decoder
    return None


def _record(entries: Generator[BatchEntry], manifest: Manifest, meter: ProgressMeter, stop: StopRequest) -> None:
    with closing(entries):
        for entry in entries:
            manifest.add(entry)
            meter.advance(failed=entry.error is not None)
            if stop:
                return


def _summary(
    files: Sequence[SourceFile], todo: Sequence[SourceFile], manifest: Manifest, seconds: float
) -> BatchSummary:
    current = [state for file in files if (state := manifest.state_of(file))]
    failed = sum(state.error_code is not None for state in current)
    return BatchSummary(
        pictures=len(files),
        done_before=len(files) - len(todo),
        done=len(current) - failed,
        failed=failed,
        unfinished=len(files) - len(current),
        seconds=round(seconds, 3),
    )


def _print(summary: BatchSummary, remarks: Sequence[str], arguments: BatchArguments) -> None:
    if arguments.as_json:
        typer.echo(json.dumps({**asdict(summary), "out": arguments.out, "remarks": list(remarks)}))
        return
    run = summary.pictures - summary.done_before - summary.unfinished
    rate = f", {run / summary.seconds:.1f} pictures/s" if run and summary.seconds else ""
    done = f"{summary.done} done, {summary.failed} failed, {summary.done_before} of them in earlier runs"
    typer.echo(f"{summary.pictures} pictures: {done}{rate}.")
    for remark in remarks:
        typer.echo(remark)
    if summary.unfinished:
        typer.echo(f"{summary.unfinished} are left; run the same command again to continue.")
    if summary.failed:
        typer.echo("The manifest has the reason of each failure; --retry-failed tries them again.")
    typer.echo(f"Results and manifest are in {printable(arguments.out)}.")


def _finish(summary: BatchSummary, failure: Exception | None, stop: StopRequest) -> None:
    if stop.by_signal:
        note(f"sightline: interrupted; {summary.unfinished} pictures are left. Run the same command again to continue")
        stop.end_process()
    if failure is not None:
        raise failure
    if summary.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
