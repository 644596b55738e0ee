"""The command: from a folder to its tables and its report."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from sightline.cli.faults import Fault
from sightline.cli.screening.asking import Asker, Here, There
from sightline.cli.screening.finding import Finding
from sightline.cli.screening.journal import NAME, Heading, Journal
from sightline.cli.screening.progress import meter
from sightline.cli.screening.report import Report, write_report
from sightline.cli.screening.screen import Screening
from sightline.cli.screening.tables import write_tables
from sightline.cli.screening.walking import File, walk
from sightline.imaging.perceptual_hash import near_duplicates
from sightline.serving.settings import available_cores

REQUESTS_AT_ONCE = 4


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
    anew: bool,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if anew:
        (out / NAME).unlink(missing_ok=True)
    files = list(walk(folder, leaving_out=out, every_file=every_file))
    if not files:
        raise Fault(f"there are no pictures in {folder}; --every-file tries files of any suffix")
    with _askers(url, api_key, threshold) as askers, Journal(out) as journal:
        model = askers[0].model
        journal.begin(Heading(model=model, threshold=threshold))
        with meter(len(files)) as progress:
            Screening(journal, askers, threshold, progress).run(files)
        findings = [journal.findings[file.name] for file in files]
    findings = with_groups(findings) if group_near_duplicates else findings
    write_tables(out, findings)
    report = Report(folder.resolve(), model, _now(), thumbnails)
    write_report(out, findings, {file.name: file.path for file in files}, report)
    _tell(findings, files, out, known=progress.known)


def with_groups(findings: Sequence[Finding]) -> list[Finding]:
    """Near-duplicates with the number of their group, from 1; copies belong to the group of what they are copies of."""
    hashed = [at for at, finding in enumerate(findings) if finding.perceptual_hash]
    groups = near_duplicates([int(findings[at].perceptual_hash or "0", 16) for at in hashed])
    numbers = {hashed[place]: number for number, group in enumerate(groups, 1) for place in group}
    return [
        finding.model_copy(update={"near_duplicates": numbers[at]}) if at in numbers else finding
        for at, finding in enumerate(findings)
    ]


@contextmanager
def _askers(url: str | None, api_key: str | None, threshold: float | None) -> Iterator[Sequence[Asker]]:
    if url is not None:
        with closing(There(url, threshold, api_key, time.sleep)) as server:
            yield [server] * REQUESTS_AT_ONCE
        return
    first = Here(threshold)
    # One model for each core beats one that runs on all of them; a GPU is shared by none.
    others = available_cores() - 1 if first.on_cpu else 0
    yield [first, *(Here(threshold) for _ in range(others))]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _tell(findings: Sequence[Finding], files: Sequence[File], out: Path, *, known: int) -> None:
    failed = sum(finding.error is not None for finding in findings)
    review = sum(bool(finding.needs_review) for finding in findings)
    copies = sum(finding.copy_of is not None for finding in findings)
    typer.echo(
        f"{len(files)} files: {review} to review, {failed} failed, {copies} copies; {known} were done before.\n"
        f"Wrote results.csv, results.jsonl and report.html into {out}."
    )
