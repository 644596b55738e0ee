"""Webhook deliveries in the background, and the route that sends a test event."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import redis.asyncio
from fastapi import APIRouter, Depends, Request
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from services.gateway.auth.api_keys import fairness_key_of
from sightline.http.concurrency import ConcurrencyLimiter, Permit
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.address_guard import MAX_URL_CHARACTERS, validate_webhook
from sightline.jobs.webhooks.dispatcher import WebhookDispatcher, WebhookMetrics
from sightline.jobs.webhooks.message import Render, webhook_test_message
from sightline.jobs.webhooks.sender import DeliveryAttempt, WebhookSender
from sightline.jobs.webhooks.settings import WebhookSettings
from sightline.runtime.tasks import TaskSupervisor

router = APIRouter(tags=["webhooks"])

RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The sender of webhooks, and the limit on concurrent test events."""

    sender: WebhookSender
    test_limiter: ConcurrencyLimiter


@asynccontextmanager
async def open_webhooks(
    settings: WebhookSettings,
    *,
    redis: redis.asyncio.Redis | None,
    job_settings: JobSettings,
    render: Render,
    registry: CollectorRegistry,
    tasks: TaskSupervisor,
) -> AsyncIterator[Webhooks]:
    """Delivers webhooks in the background while the block lasts; without Redis, only test events can be sent.

    `render` returns the JSON of a job that receivers get.
    """
    metrics = WebhookMetrics(registry)
    async with WebhookSender.open(settings) as sender:
        opened = Webhooks(sender, ConcurrencyLimiter(max_requests=settings.max_tests, max_bytes=0))
        if redis is None:
            yield opened
            return
        deliveries = WebhookDispatcher(redis, job_settings, settings, sender=sender, render=render, metrics=metrics)
        async with tasks.running("webhook deliveries", deliveries.run()):
            yield opened


def _webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.scope["state"]["webhooks"]
    return webhooks


class Trial(BaseModel):
    """The URL and the secret of the receiver of a test event."""

    url: str = Field(max_length=MAX_URL_CHARACTERS, description="For example https://example.org/hooks/sightline")
    secret: str = Field(max_length=128, description="`whsec_` and 24 to 64 bytes in Base64")


class TrialReport(BaseModel):
    """The outcome of a test event."""

    delivered: bool
    status: int | None = Field(description="HTTP status of the receiver's reply; null without a reply")
    duration_ms: float
    message_id: str = Field(description="The `webhook-id` that was sent to the receiver")
    detail: str


@router.post("/v1/webhooks/test", summary="Send a signed test event and report its outcome")
async def send_test(trial: Trial, webhooks: Annotated[Webhooks, Depends(_webhooks)], request: Request) -> TrialReport:
    webhook = validate_webhook(trial.url, trial.secret, webhooks.sender.guard)
    message = webhook_test_message(f"test-{uuid.uuid4().hex}", time.time())
    # Limited, because each request makes this gateway connect to an address that the caller chooses.
    with Permit(webhooks.test_limiter, fairness_key_of(request.scope)).admit():
        attempt = await webhooks.sender.send(webhook, message)
    return TrialReport(
        delivered=attempt.delivered,
        status=attempt.status,
        duration_ms=round(attempt.duration_s * 1e3, 1),
        message_id=message.id,
        detail=_detail(attempt),
    )


def _detail(attempt: DeliveryAttempt) -> str:
    if attempt.failure:
        return attempt.failure
    return "The receiver accepted it." if attempt.delivered else f"The receiver answered {attempt.status}."
