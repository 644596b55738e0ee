"""The command: from a folder to its tables and its report."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from sightline.cli.faults import Fault
from sightline.cli.interruption import StopRequest
from sightline.cli.remote import Notify
from sightline.cli.screening.asking import Asker, Here, There, stoppable_pause
from sightline.cli.screening.finding import Finding, Trouble
from sightline.cli.screening.journal import NAME, UNREADABLE_FOLDER, Heading, Journal
from sightline.cli.screening.progress import meter
from sightline.cli.screening.report import Report, write_report
from sightline.cli.screening.screen import Screening
from sightline.cli.screening.tables import write_tables
from sightline.cli.screening.walking import Listing, UnreadableFolder, list_files
from sightline.cli.text import printable
from sightline.imaging.decoder import pool as decoder_pool
from sightline.imaging.perceptual_hash import near_duplicates
from sightline.runtime.resources import available_cores

REQUESTS_AT_ONCE = 4
MAX_SUFFIXES_SHOWN = 12
SOME_FAILED = 3
"""Exit code of a run that finished, but could not read every file and folder."""


class Notes:
    """Messages of waiting threads: on standard error, while there is a progress bar above it."""

    def __init__(self) -> None:
        self.show: Notify = lambda message: typer.echo(printable(message), err=True)

    def __call__(self, message: str) -> None:
        self.show(message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run as far as it came: the files in their order, then the folders that could not be read."""

    listing: Listing
    files: Sequence[Finding]
    folders: Sequence[Finding]
    known: int

    @property
    def findings(self) -> Sequence[Finding]:
        return [*self.files, *self.folders]

    @property
    def failed_files(self) -> int:
        return sum(finding.error is not None for finding in self.files)

    @property
    def is_complete(self) -> bool:
        return len(self.files) == len(self.listing.files)


def screen(
    folder: Path,
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
) -> None:
    """Tables and report are written however the run ends, also by Ctrl-C or because a server stays away."""
    _prepare(out, anew=anew)
    stop, notes = StopRequest(), Notes()
    with _askers(url, api_key, threshold, stop, notes) as askers:
        model = askers[0].model
        listing = list_files(folder, leaving_out=out, every_file=every_file, follow_links=follow_links)
        _require_pictures(listing, folder)
        with stop.handling_signals(), Journal(out) as journal:
            journal.begin(Heading(model=model, threshold=threshold))
            outcome, failure = _run(journal, askers, threshold, listing, stop, notes)
            findings = outcome.findings
            if group_near_duplicates and not stop.by_signal:
                findings = with_groups(findings)
            report = Report(folder.resolve(), model, _now(), thumbnails, tuple(_remarks(outcome)))
            _write(out, findings, listing, report, stop)
        _tell(outcome, out, stop)
        _end(outcome, failure, stop)


def with_groups(findings: Sequence[Finding]) -> list[Finding]:
    """Near-duplicates with the number of their group, from 1; copies belong to the group of what they are copies of."""
    hashed = [at for at, finding in enumerate(findings) if finding.perceptual_hash]
    groups = near_duplicates([int(findings[at].perceptual_hash or "0", 16) for at in hashed])
    numbers = {hashed[place]: number for number, group in enumerate(groups, 1) for place in group}
    return [
        finding.model_copy(update={"near_duplicates": numbers[at]}) if at in numbers else finding
        for at, finding in enumerate(findings)
    ]


def _prepare(out: Path, *, anew: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if anew:
            (out / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise Fault(f"{printable(str(out))} cannot be the folder of results: {error.strerror}") from None


@contextmanager
def _askers(
    url: str | None, api_key: str | None, threshold: float | None, stop: StopRequest, notes: Notes
) -> Iterator[Sequence[Asker]]:
    if url is not None:
        with closing(There(url, threshold, api_key, stoppable_pause(stop), notes)) as server:
            yield [server] * REQUESTS_AT_ONCE
        return
    first = Here(threshold)
    # One model for each core beats one that runs on all of them; a GPU is shared by none.
    others = available_cores() - 1 if first.on_cpu else 0
    yield [first, *(Here(threshold) for _ in range(others))]


def _require_pictures(listing: Listing, folder: Path) -> None:
    if any(each.path == folder for each in listing.unreadable_folders):
        raise Fault(f"{printable(str(folder))} cannot be read: {listing.unreadable_folders[0].reason}")
    if not listing.files and not listing.unreadable_folders:
        remarks = " ".join(_left_out(listing)) or "It holds no files."
        raise Fault(f"there are no pictures in {printable(str(folder))}. {remarks}")


def _run(
    journal: Journal,
    askers: Sequence[Asker],
    threshold: float | None,
    listing: Listing,
    stop: StopRequest,
    notes: Notes,
) -> tuple[Outcome, Exception | None]:
    """How far the run came, and what ended it early."""
    failure = None
    with meter(len(listing.files)) as progress:
        notes.show = progress.note
        screening = Screening(journal, askers, threshold, progress, stop)
        try:
            screening.run(listing.files)
        except Exception as error:  # what was found before is written down whatever it was
            failure = error
    stop.request()  # ends the threads that wait for a server
    if stop.by_signal:
        decoder_pool.stop()  # and those that wait for a decoder
    files = [journal.findings[file.name] for file in listing.files if screening.is_done(file)]
    folders = [_finding_of(folder) for folder in listing.unreadable_folders]
    return Outcome(listing, files, folders, progress.known), failure


def _finding_of(folder: UnreadableFolder) -> Finding:
    trouble = Trouble(code=UNREADABLE_FOLDER, detail=f"The folder cannot be read: {folder.reason}")
    return Finding(file=folder.name, size_bytes=0, modified_ns=0, error=trouble)


def _write(out: Path, findings: Sequence[Finding], listing: Listing, report: Report, stop: StopRequest) -> None:
    """The tables first: thumbnails take long."""
    paths = {file.name: file.path for file in listing.files}
    paths |= {folder.name: folder.path for folder in listing.unreadable_folders}
    try:
        write_tables(out, findings)
        write_report(out, findings, paths, report, stop)
    except OSError as error:
        raise Fault(f"the results cannot be written into {printable(str(out))}: {error.strerror}") from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _tell(outcome: Outcome, out: Path, stop: StopRequest) -> None:
    review = sum(bool(finding.needs_review) for finding in outcome.findings)
    copies = sum(finding.copy_of is not None for finding in outcome.findings)
    typer.echo(
        f"{len(outcome.files)} files: {review} to review, {outcome.failed_files} failed, {copies} copies; "
        f"{outcome.known} were done before."
    )
    for remark in _remarks(outcome):
        typer.echo(remark)
    typer.echo(f"Wrote results.csv, results.jsonl and report.html into {printable(str(out))}.")


def _remarks(outcome: Outcome) -> Iterable[str]:
    """What a reader of the results must know of what is missing in them."""
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
    """The most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {suffix}" for suffix, count in ordered[:MAX_SUFFIXES_SHOWN]]
    rest = sum(count for _, count in ordered[MAX_SUFFIXES_SHOWN:])
    return ", ".join([*shown, f"{rest} of other suffixes"] if rest else shown)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _end(outcome: Outcome, failure: Exception | None, stop: StopRequest) -> None:
    if stop.by_signal:
        # A thread may still be waiting for a server or a decoder, which the end of the interpreter would wait for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(stop.exit_code)
    if failure is not None:
        raise failure
    if outcome.failed_files or outcome.folders:
        raise typer.Exit(SOME_FAILED)
