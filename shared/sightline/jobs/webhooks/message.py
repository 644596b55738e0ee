"""Webhook messages and their signatures by Standard Webhooks, version v1: HMAC-SHA256 with a shared secret."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Job

Render = Callable[[Job], Mapping[str, Any]]
PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One event for one receiver; its id stays the same however often it is sent."""

    id: str
    body: bytes


def job_ended_message(job: Job, render: Render) -> WebhookMessage:
    """Returns the event for the end of a job. If an operator retries the job, its next end is another message."""
    ended_at = job.finished_at or job.created_at
    event = {"type": f"job.{job.state}", "timestamp": _iso(ended_at), "data": render(job)}
    return WebhookMessage(f"{job.id}-{job.state}-{round(ended_at * 1000)}", _json(event))


def webhook_test_message(message_id: str, sent_at: float) -> WebhookMessage:
    """Returns a test event without data."""
    return WebhookMessage(message_id, _json({"type": "webhook.test", "timestamp": _iso(sent_at), "data": {}}))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def signing_key(secret: str) -> bytes:
    """Decodes a `whsec_` secret. Raises Problem INVALID_REQUEST, without quoting the secret."""
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        sizes = f"{SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes"
        detail = f"A webhook's secret must be {PREFIX} followed by {sizes} in base64."
        raise Problem(Code.INVALID_REQUEST, detail)
    return key


def signed_headers(secret: str, message_id: str, body: bytes, *, timestamp_s: int) -> dict[str, str]:
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signature = base64.b64encode(hmac.digest(signing_key(secret), signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
