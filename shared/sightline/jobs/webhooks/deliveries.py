import asyncio
import time
from collections import Counter
from contextlib import suppress
from random import SystemRandom

import redis.asyncio
import structlog

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Job
from sightline.jobs.outbox import Delivery, Fate, Outbox, Ticket
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.message import Message, Render, message_about
from sightline.jobs.webhooks.metrics import WebhookMetrics
from sightline.jobs.webhooks.receiver import caller_of, lane_of
from sightline.jobs.webhooks.sender import Attempt, Sender
from sightline.jobs.webhooks.settings import WebhookSettings
from sightline.runtime.tasks import cancellable

log = structlog.get_logger()

PAGE = 128
SHARE = 3  # times what is free is the most that one caller may have at once
SPREAD = 0.2  # of a delay, either way, so that what failed together does not come back together
LEASE_MARGIN_S = 30.0  # beyond the attempt itself, for Redis to be slow
BACKLOG_INTERVAL_S = 10.0
MAX_BACKOFF_S = 30.0
DOUBLINGS = 16  # more would overflow one day


class Deliveries:
    """Tells receivers that jobs ended, at least once each, as long as the schedule has it; any process may run it."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        job_settings: JobSettings,
        settings: WebhookSettings,
        *,
        sender: Sender,
        render: Render,
        metrics: WebhookMetrics,
    ) -> None:
        self._queue, self._outbox = JobQueue(redis, job_settings), Outbox(redis, job_settings)
        self._settings, self._sender, self._render, self._metrics = settings, sender, render, metrics
        self._busy: Counter[str] = Counter()  # by lane
        self._busy_of: Counter[str] = Counter()  # by caller
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled; what was being sent then is sent again after a while."""
        failures = 0
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_backlog())
            while True:
                try:
                    with cancellable():
                        await self._route_arrivals()
                        await self._start_due(tasks)
                    failures = 0
                except Problem:
                    failures += 1
                    log.warning("webhooks_wait_for_redis", failures=failures)
                except Exception as error:
                    failures += 1
                    log.error("webhooks_failed", error=type(error).__name__)
                await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        if failures:
            longest_s = min(self._settings.poll_interval_s * 2.0 ** min(failures, DOUBLINGS), MAX_BACKOFF_S)
            await asyncio.sleep(SystemRandom().uniform(longest_s / 2, longest_s))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_interval_s):
                await self._more.wait()
        self._more.clear()

    async def _route_arrivals(self) -> None:
        arrived = await self._outbox.arrived(limit=PAGE)
        for job_id in arrived:
            await self._outbox.route(job_id, await self._receiver(job_id))
        if len(arrived) == PAGE:
            self._more.set()

    async def _receiver(self, job_id: str) -> str | None:
        job = await self._job(job_id)
        if job is None or job.webhook is None:
            return None
        try:
            return lane_of(job.caller or job.owner, job.webhook)
        except ValueError:
            return None

    async def _job(self, job_id: str) -> Job | None:
        try:
            return await self._queue.get(job_id)
        except Problem as problem:
            if problem.code is not Code.NOT_FOUND:
                raise
            return None

    async def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        lease_s = self._settings.timeout_s + LEASE_MARGIN_S
        for receiver in await self._outbox.receivers_due(limit=PAGE):
            room = self._room(receiver)
            if room > 0:
                for ticket in await self._outbox.take(receiver, limit=room, lease_s=lease_s):
                    self._busy[receiver] += 1
                    self._busy_of[caller_of(receiver)] += 1
                    tasks.create_task(self._deliver(ticket))

    def _room(self, receiver: str) -> int:
        """A caller may have at most some times as many deliveries at once as places are left."""
        left, own = self._settings.max_deliveries - self._busy.total(), self._busy_of[caller_of(receiver)]
        share = (SHARE * left - own + SHARE) // (SHARE + 1)
        return min(left, share, self._settings.max_per_receiver - self._busy[receiver])

    async def _deliver(self, ticket: Ticket) -> None:
        try:
            await self._attempt(ticket)
        except Problem:
            log.warning("webhook_unsettled", job=ticket.job_id)
        except Exception as error:
            # One odd message must not end the delivery of all others; its lease ends, and it is tried again.
            log.error("webhook_failed", job=ticket.job_id, error=type(error).__name__)
        finally:
            if not self._room(ticket.receiver):
                self._more.set()
            self._busy -= Counter([ticket.receiver])
            self._busy_of -= Counter([caller_of(ticket.receiver)])

    async def _attempt(self, ticket: Ticket) -> None:
        with cancellable():
            job = await self._job(ticket.job_id)
        if job is None or job.webhook is None or not job.state.terminal:
            await self._settle(ticket, None, retry_in_s=None)
            return
        message = message_about(job, self._render)
        attempt = await self._sender.send(job.webhook, message)
        self._metrics.observe(attempt)
        await self._record(ticket, message, attempt)

    async def _record(self, ticket: Ticket, message: Message, attempt: Attempt) -> None:
        attempts = 1 + (ticket.last.attempts if ticket.last and ticket.last.message_id == message.id else 0)
        retry_in_s = self._retry_in_s(attempt, attempts)
        fate = Fate.DELIVERED if attempt.delivered else Fate.GIVEN_UP if retry_in_s is None else Fate.PENDING
        delivery = Delivery(message.id, fate, attempts, time.time(), attempt.status, attempt.failure)
        if await self._settle(ticket, delivery, retry_in_s=retry_in_s) and fate is Fate.GIVEN_UP:
            self._metrics.given_up.inc()
        log.info("webhook_sent", job=ticket.job_id, fate=fate, attempts=attempts, status=attempt.status)

    def _retry_in_s(self, attempt: Attempt, attempts: int) -> float | None:
        delays_s = self._settings.retry_delays_s
        if attempt.delivered or attempt.unwanted or attempts > len(delays_s):
            return None
        delay_s = delays_s[attempts - 1] * SystemRandom().uniform(1 - SPREAD, 1 + SPREAD)
        return max(delay_s, attempt.retry_after_s or 0.0)

    async def _settle(self, ticket: Ticket, delivery: Delivery | None, *, retry_in_s: float | None) -> bool:
        ttl_s = self._settings.record_ttl_s
        return await self._outbox.settle(ticket, delivery, retry_in_s=retry_in_s, ttl_s=ttl_s)

    async def _watch_backlog(self) -> None:
        while True:
            try:
                with cancellable():
                    self._metrics.show(await self._outbox.backlog())
            except Problem:
                self._metrics.show(None)
            await asyncio.sleep(BACKLOG_INTERVAL_S)
