"""Delivery of webhooks: takes due messages from the delivery queue and sends them to their receivers."""

import asyncio
import math
import time
from collections import Counter
from contextlib import suppress
from random import SystemRandom

import prometheus_client
import redis.asyncio
import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Job
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import (
    Delivery,
    DeliveryBacklog,
    DeliveryLease,
    DeliveryQueue,
    DeliveryStatus,
    delivery_lane,
    lane_caller,
)
from sightline.jobs.webhooks.message import Render, WebhookMessage, job_ended_message
from sightline.jobs.webhooks.sender import DeliveryAttempt, WebhookSender
from sightline.jobs.webhooks.settings import WebhookSettings
from sightline.runtime.resources import MAX_CALLER_SHARE
from sightline.runtime.retries import repeat
from sightline.runtime.tasks import cancellable

log = structlog.get_logger()

PAGE = 128
JITTER = 0.2  # of a delay, in either direction, so that messages that failed together are not retried together
LEASE_MARGIN_S = 30.0  # beyond the attempt itself, in case Redis is slow
BACKLOG_INTERVAL_S = 10.0
MAX_BACKOFF_S = 30.0
DURATION_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class WebhookMetrics:
    """Prometheus metrics of webhook deliveries. No label names a receiver, as clients choose the names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = prometheus_client.Counter(
            "sightline_webhook_attempts", "Sendings: delivered or failed", ["outcome"], registry=registry
        )
        self.given_up = prometheus_client.Counter(
            "sightline_webhooks_given_up", "Messages that never arrived", registry=registry
        )
        self.duration_s = Histogram(
            "sightline_webhook_attempt_duration_seconds",
            "From the lookup of the receiver's name to its answer",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.pending = Gauge("sightline_webhooks_pending", "Messages not settled yet", registry=registry)
        self.overdue_s = Gauge("sightline_webhooks_overdue_seconds", "Age of the oldest due message", registry=registry)

    def observe(self, attempt: DeliveryAttempt) -> None:
        self.attempts.labels("delivered" if attempt.delivered else "failed").inc()
        self.duration_s.observe(attempt.duration_s)

    def set_backlog(self, backlog: DeliveryBacklog | None) -> None:
        """Sets the gauges; None, while Redis is unavailable, sets NaN."""
        self.pending.set(math.nan if backlog is None else backlog.pending)
        self.overdue_s.set(math.nan if backlog is None else backlog.overdue_s)


class WebhookDispatcher:
    """Sends each message at least once, for as long as its retry schedule lasts; any number may run at once."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        job_settings: JobSettings,
        settings: WebhookSettings,
        *,
        sender: WebhookSender,
        render: Render,
        metrics: WebhookMetrics,
    ) -> None:
        self._jobs, self._queue = JobQueue(redis, job_settings), DeliveryQueue(redis, job_settings)
        self._settings, self._sender, self._render, self._metrics = settings, sender, render, metrics
        self._busy: Counter[str] = Counter()  # by lane
        self._busy_of: Counter[str] = Counter()  # by caller
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled; messages that are being sent at that time are sent again when their lease ends."""
        async with asyncio.TaskGroup() as deliveries:

            async def dispatch() -> None:
                await self._route_ended_jobs()
                await self._start_due(deliveries)
                await self._wait_for_more()

            deliveries.create_task(repeat(self._observe_backlog, interval_s=BACKLOG_INTERVAL_S))
            await repeat(dispatch, event="webhooks_failed", max_wait_s=MAX_BACKOFF_S)

    async def _wait_for_more(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_interval_s):
                await self._more.wait()
        self._more.clear()

    async def _route_ended_jobs(self) -> None:
        unrouted = await self._queue.unrouted(limit=PAGE)
        for job_id in unrouted:
            await self._queue.route(job_id, await self._lane(job_id))
        if len(unrouted) == PAGE:
            self._more.set()

    async def _lane(self, job_id: str) -> str | None:
        job = await self._job(job_id)
        if job is None or job.webhook is None:
            return None
        try:
            return delivery_lane(job.caller or job.owner, job.webhook)
        except ValueError:
            return None

    async def _job(self, job_id: str) -> Job | None:
        try:
            return await self._jobs.get(job_id)
        except Problem as problem:
            if problem.code is not Code.NOT_FOUND:
                raise
            return None

    async def _start_due(self, deliveries: asyncio.TaskGroup) -> None:
        lease_s = self._settings.timeout_s + LEASE_MARGIN_S
        for lane in await self._queue.due_receivers(limit=PAGE):
            room = self._room(lane)
            if room > 0:
                for lease in await self._queue.take(lane, limit=room, lease_s=lease_s):
                    self._busy[lane] += 1
                    self._busy_of[lane_caller(lane)] += 1
                    deliveries.create_task(self._deliver(lease))

    def _room(self, lane: str) -> int:
        """Returns how many deliveries may start in a lane, so that no caller exceeds `MAX_CALLER_SHARE`."""
        free, own = self._settings.max_deliveries - self._busy.total(), self._busy_of[lane_caller(lane)]
        share = (MAX_CALLER_SHARE * free - own + MAX_CALLER_SHARE) // (MAX_CALLER_SHARE + 1)
        return min(free, share, self._settings.max_per_receiver - self._busy[lane])

    async def _deliver(self, lease: DeliveryLease) -> None:
        try:
            await self._attempt(lease)
        except Problem:
            log.warning("webhook_unsettled", job=lease.job_id)
        except Exception as error:
            # One bad message must not end all deliveries; it is tried again when its lease ends.
            log.error("webhook_failed", job=lease.job_id, error=type(error).__name__)
        finally:
            if not self._room(lease.receiver):
                self._more.set()
            self._busy -= Counter([lease.receiver])
            self._busy_of -= Counter([lane_caller(lease.receiver)])

    async def _attempt(self, lease: DeliveryLease) -> None:
        with cancellable():
            job = await self._job(lease.job_id)
        if job is None or job.webhook is None or not job.state.terminal:
            await self._settle(lease, None, retry_in_s=None)
            return
        message = job_ended_message(job, self._render)
        attempt = await self._sender.send(job.webhook, message)
        self._metrics.observe(attempt)
        await self._record(lease, message, attempt)

    async def _record(self, lease: DeliveryLease, message: WebhookMessage, attempt: DeliveryAttempt) -> None:
        attempts = 1 + (lease.last.attempts if lease.last and lease.last.message_id == message.id else 0)
        retry_in_s = self._retry_in_s(attempt, attempts)
        status = _status(attempt, retry_in_s)
        delivery = Delivery(message.id, status, attempts, time.time(), attempt.status, attempt.failure)
        if await self._settle(lease, delivery, retry_in_s=retry_in_s) and status is DeliveryStatus.GIVEN_UP:
            self._metrics.given_up.inc()
        log.info("webhook_sent", job=lease.job_id, fate=status, attempts=attempts, status=attempt.status)

    def _retry_in_s(self, attempt: DeliveryAttempt, attempts: int) -> float | None:
        delays_s = self._settings.retry_delays_s
        if attempt.delivered or attempt.unwanted or attempts > len(delays_s):
            return None
        delay_s = delays_s[attempts - 1] * SystemRandom().uniform(1 - JITTER, 1 + JITTER)
        return max(delay_s, attempt.retry_after_s or 0.0)

    async def _settle(self, lease: DeliveryLease, delivery: Delivery | None, *, retry_in_s: float | None) -> bool:
        ttl_s = self._settings.record_ttl_s
        return await self._queue.settle(lease, delivery, retry_in_s=retry_in_s, ttl_s=ttl_s)

    async def _observe_backlog(self) -> None:
        try:
            self._metrics.set_backlog(await self._queue.backlog())
        except Problem:
            self._metrics.set_backlog(None)


def _status(attempt: DeliveryAttempt, retry_in_s: float | None) -> DeliveryStatus:
    if attempt.delivered:
        return DeliveryStatus.DELIVERED
    return DeliveryStatus.GIVEN_UP if retry_in_s is None else DeliveryStatus.PENDING
