"""`sightline screen`: screens a folder, and writes tables and a report."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from sightline.cli.batch.sources import is_store_url, list_store
from sightline.cli.exit_codes import ExitCode
from sightline.cli.interruption import StopRequest
from sightline.cli.output import CommandError, note, print_json, printable
from sightline.cli.progress import NotePrinter, progress_meter
from sightline.cli.screening.clients import LocalClient, RemoteClient, ScreeningClient, stoppable_pause
from sightline.cli.screening.files import Listing, UnreadableFolder, list_files
from sightline.cli.screening.journal import NAME, UNREADABLE_FOLDER, FileError, FileResult, Journal, JournalHeader
from sightline.cli.screening.results import ReportInfo, write_report, write_tables
from sightline.cli.screening.run import ScreeningRun
from sightline.imaging.decoder import pool as decoder_pool
from sightline.imaging.perceptual_hash import near_duplicates
from sightline.runtime.resources import available_cores

REQUESTS_AT_ONCE = 4
MAX_SUFFIXES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ScreeningOutcome:
    """Results of a run, complete or not: files in their order, then folders that could not be read."""

    listing: Listing
    files: Sequence[FileResult]
    folders: Sequence[FileResult]
    known: int

    @property
    def results(self) -> Sequence[FileResult]:
        return [*self.files, *self.folders]

    @property
    def failed_files(self) -> int:
        return sum(result.error is not None for result in self.files)

    @property
    def is_complete(self) -> bool:
        return len(self.files) == len(self.listing.files)


def screen(
    place: str,
    out: Path,
    *,
    url: str | None,
    api_key: str | None,
    threshold: float | None,
    group_near_duplicates: bool,
    thumbnails: bool,
    every_file: bool,
    follow_links: bool,
    anew: bool,
    as_json: bool = False,
) -> None:
    """Screens a folder or an object store.

    Writes tables and report however the run ends, including by Ctrl-C or a lost server.
    """
    _prepare(out, anew=anew)
    stop, notes = StopRequest(), NotePrinter()
    with _clients(url, api_key, threshold, stop, notes) as clients:
        model = clients[0].model
        listing = _list(place, out, every_file=every_file, follow_links=follow_links)
        _require_pictures(listing, place)
        with stop.handling_signals(), Journal(out) as journal:
            journal.begin(JournalHeader(model=model, threshold=threshold))
            outcome, failure = _run(journal, clients, threshold, listing, stop, notes)
            results = outcome.results
            if group_near_duplicates and not stop.by_signal:
                results = with_near_duplicate_groups(results)
            report = ReportInfo(_title(place), model, _now(), thumbnails, tuple(_remarks(outcome)))
            _write(out, results, listing, report, stop)
        _print_summary(outcome, out, as_json=as_json)
        _finish(outcome, failure, stop)


def with_near_duplicate_groups(results: Sequence[FileResult]) -> list[FileResult]:
    """Sets the group number (from 1) of near-duplicates; copies belong to the group of their original."""
    hashed = [at for at, result in enumerate(results) if result.perceptual_hash]
    groups = near_duplicates([int(results[at].perceptual_hash or "0", 16) for at in hashed])
    numbers = {hashed[place]: number for number, group in enumerate(groups, 1) for place in group}
    return [
        result.model_copy(update={"near_duplicates": numbers[at]}) if at in numbers else result
        for at, result in enumerate(results)
    ]


def _prepare(out: Path, *, anew: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if anew:
            (out / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{printable(str(out))} cannot be the folder of results: {error.strerror}") from None


@contextmanager
def _clients(
    url: str | None, api_key: str | None, threshold: float | None, stop: StopRequest, notes: NotePrinter
) -> Iterator[Sequence[ScreeningClient]]:
    if url is not None:
        with closing(RemoteClient(url, threshold, api_key, stoppable_pause(stop), notes)) as server:
            yield [server] * REQUESTS_AT_ONCE
        return
    first = LocalClient(threshold)
    # One model per core is faster than one on all cores; on a GPU one model is enough.
    others = available_cores() - 1 if first.on_cpu else 0
    yield [first, *(LocalClient(threshold) for _ in range(others))]


def _list(place: str, out: Path, *, every_file: bool, follow_links: bool) -> Listing:
    if is_store_url(place):
        return list_store(place, every_file=every_file)
    return list_files(Path(place), leaving_out=out, every_file=every_file, follow_links=follow_links)


def _title(place: str) -> str:
    return place if is_store_url(place) else Path(place).resolve().name


def _require_pictures(listing: Listing, place: str) -> None:
    if any(each.path == Path(place) for each in listing.unreadable_folders):
        raise CommandError(f"{printable(place)} cannot be read: {listing.unreadable_folders[0].reason}")
    if not listing.files and not listing.unreadable_folders:
        remarks = " ".join(_left_out(listing)) or "It holds no files."
        raise CommandError(f"there are no pictures in {printable(place)}. {remarks}")


def _run(
    journal: Journal,
    clients: Sequence[ScreeningClient],
    threshold: float | None,
    listing: Listing,
    stop: StopRequest,
    notes: NotePrinter,
) -> tuple[ScreeningOutcome, Exception | None]:
    """Returns the outcome, and the exception that ended the run early, if any."""
    failure = None
    with progress_meter(len(listing.files), "Screening") as progress:
        notes.show = progress.note
        screening = ScreeningRun(journal, clients, threshold, progress, stop)
        try:
            screening.run(listing.files)
        except Exception as error:  # earlier results are written whatever the error
            failure = error
    stop.request()  # ends threads that wait for a server
    if stop.by_signal:
        decoder_pool.stop()  # ends threads that wait for a decoder
    files = [journal.results[file.name] for file in listing.files if screening.is_done(file)]
    folders = [_folder_result(folder) for folder in listing.unreadable_folders]
    return ScreeningOutcome(listing, files, folders, progress.known), failure


def _folder_result(folder: UnreadableFolder) -> FileResult:
    file_error = FileError(code=UNREADABLE_FOLDER, detail=f"The folder cannot be read: {folder.reason}")
    return FileResult(file=folder.name, size_bytes=0, modified_ns=0, error=file_error)


def _write(out: Path, results: Sequence[FileResult], listing: Listing, report: ReportInfo, stop: StopRequest) -> None:
    """Writes the tables first, because thumbnails take long."""
    files = {file.name: file for file in listing.files}
    try:
        write_tables(out, results)
        write_report(out, results, files, report, stop)
    except OSError as error:
        raise CommandError(f"the results cannot be written into {printable(str(out))}: {error.strerror}") from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print_summary(outcome: ScreeningOutcome, out: Path, *, as_json: bool) -> None:
    review = sum(bool(result.needs_review) for result in outcome.results)
    copies = sum(result.copy_of is not None for result in outcome.results)
    if as_json:
        facts = {
            "files": len(outcome.listing.files),
            "done": len(outcome.files),
            "done_before": outcome.known,
            "to_review": review,
            "failed": outcome.failed_files,
            "copies": copies,
            "unreadable_folders": len(outcome.folders),
            "out": printable(str(out)),
            "remarks": list(_remarks(outcome)),
        }
        print_json(facts)
        return
    typer.echo(
        f"{len(outcome.files)} files: {review} to review, {outcome.failed_files} failed, {copies} copies; "
        f"{outcome.known} were done before."
    )
    for remark in _remarks(outcome):
        typer.echo(remark)
    typer.echo(f"Wrote results.csv, results.jsonl and report.html into {printable(str(out))}.")


def _remarks(outcome: ScreeningOutcome) -> Iterable[str]:
    """Yields sentences on what is missing in the results."""
    if not outcome.is_complete:
        yield f"{len(outcome.files)} of {len(outcome.listing.files)} done; run again to continue."
    if count := len(outcome.folders):
        yield f"{counted(count, 'folder')} could not be read."
    yield from _left_out(outcome.listing)


def _left_out(listing: Listing) -> Iterable[str]:
    if count := sum(listing.left_out.values()):
        yield f"Left out {counted(count, 'file')} by suffix: {by_suffix(listing.left_out)}; --every-file tries them."
    if count := listing.links_not_followed:
        yield f"{counted(count, 'link')} out of the folder not followed; --follow-links follows them."


def by_suffix(counts: Counter[str]) -> str:
    """Returns counts by suffix as text, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {suffix}" for suffix, count in ordered[:MAX_SUFFIXES_SHOWN]]
    rest = sum(count for _, count in ordered[MAX_SUFFIXES_SHOWN:])
    return ", ".join([*shown, f"{rest} of other suffixes"] if rest else shown)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _finish(outcome: ScreeningOutcome, failure: Exception | None, stop: StopRequest) -> None:
    if stop.by_signal:
        left = len(outcome.listing.files) - len(outcome.files)
        note(f"sightline: interrupted; {len(outcome.files)} files are done, {left} are left. Run it again to continue")
        stop.end_process()
    if failure is not None:
        raise failure
    if outcome.failed_files or outcome.folders:
        raise typer.Exit(ExitCode.SOME_FAILED)
