"""The progress bar of commands that work through many files, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sightline.cli.output import printable
from sightline.cli.server_client import Notify

SPEED_OVER_S = 30.0


class RateColumn(ProgressColumn):
    """Files per second since the start; a recent rate would be misleading, as copies come in bursts."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:.1f} files/s" if task.elapsed else "")


class ProgressMeter:
    """Progress bar of a run; files that an earlier run finished do not count for the rate."""

    def __init__(self, progress: Progress, total: int, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, failed=0)
        self.known, self.failed = 0, 0
        self._last_note = ""

    def advance(self, *, known: bool = False, failed: bool = False) -> None:
        self.known += known
        self.failed += failed
        if known:
            self._progress.update(self._task, total=self._remaining_total() - 1)
        else:
            self._progress.update(self._task, advance=1, failed=self.failed)

    def note(self, message: str) -> None:
        """Prints a line above the bar, once if several threads report the same server."""
        if message != self._last_note:
            self._last_note = message
            self._progress.console.print(printable(message), markup=False, highlight=False, soft_wrap=True)

    def _remaining_total(self) -> float:
        return next(task.total or 0 for task in self._progress.tasks if task.id == self._task)


class NotePrinter:
    """Prints messages of waiting threads: on standard error, or above the progress bar while there is one."""

    def __init__(self) -> None:
        self.show: Notify = lambda message: typer.echo(printable(message), err=True)

    def __call__(self, message: str) -> None:
        self.show(message)


@contextmanager
def progress_meter(total: int, title: str) -> Iterator[ProgressMeter]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=SPEED_OVER_S) as progress:
        yield ProgressMeter(progress, total, title)
