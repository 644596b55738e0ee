import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sightline.jobs.job import Job

Render = Callable[[Job], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Message:
    """One event for one receiver; the id stays the same however often it is sent."""

    id: str
    body: bytes


def message_about(job: Job, render: Render) -> Message:
    """That a job ended. A job that an operator retried ends again, which is another message."""
    ended_at = job.finished_at or job.created_at
    event = {"type": f"job.{job.state}", "timestamp": _iso(ended_at), "data": render(job)}
    return Message(f"{job.id}-{job.state}-{round(ended_at * 1000)}", _json(event))


def trial_message(message_id: str, sent_at: float) -> Message:
    """An event that says nothing but that it arrived."""
    return Message(message_id, _json({"type": "webhook.test", "timestamp": _iso(sent_at), "data": {}}))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
