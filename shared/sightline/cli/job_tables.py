"""Prints jobs and queues as tables, or as JSON for programs."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from sightline.cli.output import console, print_json, printable
from sightline.jobs.inspector import QueueStats
from sightline.jobs.job import Job
from sightline.jobs.queue import QueuePosition
from sightline.jobs.webhooks.delivery_queue import Delivery

UNITS = {"d": 86_400, "h": 3_600, "min": 60}

_job = TypeAdapter(Job)


def show_jobs(jobs: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(job) for job in jobs])
        return
    rows = [(job.id, job.model, job.priority, _state(job), job.attempts, _age(job.created_at)) for job in jobs]
    _print_table(("job", "model", "priority", "state", "tries", "age"), rows)


def show_queues(lines: Sequence[QueueStats], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    rows = [
        (each.model, each.priority, each.waiting, _oldest(each), each.running, each.retrying, each.dead)
        for each in lines
    ]
    _print_table(("model", "priority", "waiting", "oldest", "running", "retrying", "dead"), rows)


def show_dead(jobs: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(job) for job in jobs])
        return
    rows = [(job.id, job.model, job.owner, job.attempts, _age(job.finished_at), _reason(job)) for job in jobs]
    _print_table(("job", "model", "owner", "tries", "dead for", "why"), rows)


def show_given_up(given_up: Sequence[tuple[Job, Delivery | None]], *, as_json: bool) -> None:
    if as_json:
        print_json([{**_facts(job), "delivery": delivery and asdict(delivery)} for job, delivery in given_up])
        return
    rows = [
        (job.id, job.state, delivery.attempts, _moment(delivery.at), _answer(delivery))
        if delivery
        else (job.id, job.state, "", "", "")
        for job, delivery in given_up
    ]
    _print_table(("job", "state", "tries", "last sent", "why"), rows)


def show_job(job: Job, queue_position: QueuePosition, delivery: Delivery | None, *, as_json: bool) -> None:
    facts = _facts(job) | asdict(queue_position) | ({"delivery": asdict(delivery)} if delivery else {})
    if as_json:
        print_json(facts)
        return
    _print_table(("", ""), [(name, _text(name, value)) for name, value in facts.items() if value not in (None, [], {})])


def _answer(delivery: Delivery) -> str:
    return delivery.failure or f"The receiver answered {delivery.status}."


def _oldest(line: QueueStats) -> str:
    return _span(line.oldest_age_s) if line.waiting else ""


def _facts(job: Job) -> dict[str, Any]:
    """Returns the job's fields without the secret of its webhook."""
    facts: dict[str, Any] = _job.dump_python(job, mode="json")
    if job.webhook:
        facts["webhook"] = job.webhook.url
    return facts


def _state(job: Job) -> str:
    return f"{job.state} ({job.progress.stage})" if job.progress and not job.state.terminal else job.state


def _reason(job: Job) -> str:
    return str(job.problem["detail"]) if job.problem and "detail" in job.problem else ""


def _text(name: str, value: Any) -> str:
    if name.endswith("_at"):
        return _moment(value)
    return value if isinstance(value, str) else json.dumps(value)


def _moment(epoch_s: float | None) -> str:
    return "" if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(epoch_s: float | None) -> str:
    return "" if epoch_s is None else _span(time.time() - epoch_s)


def _span(seconds: float) -> str:
    """Formats a duration in the largest unit of which there are at least two."""
    for unit, length_s in UNITS.items():
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(show_header=any(headings), box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        # An id that is wrapped cannot be copied.
        table.add_column(heading, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(printable(str(each))) for each in row))
    console().print(table)
