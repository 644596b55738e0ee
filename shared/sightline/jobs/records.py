"""A job as the fields of a Redis hash."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from sightline.jobs.job import Job, Representation, StoredRequest, Submission, Webhook

STRUCTURED = frozenset(("request", "progress", "problem", "results", "stages_ms", "webhook"))  # kept as JSON
NAMES = frozenset(field.name for field in fields(Job))

_job = TypeAdapter(Job)
_request = TypeAdapter(StoredRequest)
_webhook = TypeAdapter(Webhook)
_results = TypeAdapter(tuple[Representation, ...])


def record_of(submission: Submission) -> dict[str, str]:
    optional = {
        "idempotency_key": submission.idempotency_key,
        "caller": submission.caller,
        "webhook": submission.webhook and _webhook.dump_json(submission.webhook).decode(),
    }
    return {
        "id": submission.id,
        "model": submission.model,
        "owner": submission.owner,
        "priority": submission.priority,
        "reason": submission.reason,
        "request": _request.dump_json(submission.request).decode(),
        "request_id": submission.request_id,
        "fingerprint": submission.fingerprint,
        **{name: value for name, value in optional.items() if value},
    }


def job_of(record: Mapping[str, str]) -> Job:
    return _job.validate_python({name: _value(name, text) for name, text in record.items() if name in NAMES})


def job_of_reply(reply: Sequence[str]) -> Job:
    """From what a script returned of HGETALL: names and values in turn."""
    return job_of(pairs(reply))


def pairs(reply: Sequence[str]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def results_json(results: Iterable[Representation]) -> str:
    return _results.dump_json(tuple(results)).decode()


def _value(name: str, text: str) -> Any:
    return json.loads(text) if name in STRUCTURED else text
