"""Queue of webhook deliveries in Redis."""

import json
from dataclasses import dataclass
from enum import StrEnum

import redis.asyncio
from pydantic import TypeAdapter
from yarl import URL

from sightline.api.problems import Code, Problem
from sightline.jobs.connection import redis_errors_as_problems
from sightline.jobs.job import Job, Webhook, job_from_reply
from sightline.jobs.queue import unknown_job
from sightline.jobs.scripts import RedisKeys, Scripts
from sightline.jobs.settings import JobSettings


class DeliveryStatus(StrEnum):
    """State of a message's delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Record of a message's latest attempt: `at` is its time in epoch seconds, `fate` the delivery's status."""

    message_id: str
    fate: DeliveryStatus
    attempts: int
    at: float
    status: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryLease:
    """A claim on a delivery for a limited time; only the holder of the newest token may settle it."""

    job_id: str
    receiver: str
    token: str
    last: Delivery | None


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """Number of unsettled messages, and how long the oldest of them has been due."""

    pending: int
    overdue_s: float


_delivery = TypeAdapter(Delivery)


class DeliveryQueue:
    """Deliveries in Redis. Scripts that end jobs add them; each caller and receiver has a lane.

    A receiver that does not respond delays only its own lane, however many messages wait there.
    """

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._prefix = redis, settings.redis_prefix
        self._keys, self._scripts = RedisKeys(settings.redis_prefix), Scripts(redis, settings)

    async def unrouted(self, *, limit: int) -> list[str]:
        """Returns ids of jobs that have ended and are in no lane yet."""
        async with redis_errors_as_problems():
            found = await self._redis.zrange(self._keys.webhooks_due(), 0, limit - 1)
        return [str(job_id) for job_id in found]

    async def route(self, job_id: str, receiver: str | None) -> None:
        """Moves an ended job to its lane; None drops it, as the job has no webhook."""
        await self._scripts.run("webhook_route", id=job_id, receiver=receiver)

    async def due_receivers(self, *, limit: int) -> list[str]:
        due: list[str] = await self._scripts.run("webhook_receivers", limit=limit)
        return due

    async def take(self, receiver: str, *, limit: int, lease_s: float) -> list[DeliveryLease]:
        """Leases due deliveries; each is due again after `lease_s` unless it is settled."""
        taken = await self._scripts.run("webhook_take", timely=True, receiver=receiver, limit=limit, lease_s=lease_s)
        return [DeliveryLease(job_id, receiver, token, _read(record)) for job_id, token, record in taken]

    async def settle(
        self, lease: DeliveryLease, delivery: Delivery | None, *, retry_in_s: float | None, ttl_s: float
    ) -> bool:
        """Records an attempt, and ends the delivery or postpones it. Returns False, changing nothing, after the lease.

        The record of an ended delivery is kept for `ttl_s`, but not longer than its job.
        """
        settled = await self._scripts.run(
            "webhook_settle",
            id=lease.job_id,
            receiver=lease.receiver,
            token=lease.token,
            record=delivery and _delivery.dump_json(delivery).decode(),
            retry_in_s=retry_in_s,
            ttl_s=ttl_s,
            given_up=delivery is not None and delivery.fate is DeliveryStatus.GIVEN_UP,
        )
        return bool(settled)

    async def resend(self, job_id: str) -> None:
        """Reports the end of a job again, at once and with the whole retry schedule.

        Raises Problem NOT_FOUND, and INVALID_REQUEST if the job has not ended or has no webhook.
        """
        match await self._scripts.run("webhook_resend", id=job_id):
            case "live":
                raise Problem(Code.INVALID_REQUEST, "The job has not ended yet; its end will be reported.")
            case "unwanted":
                raise Problem(Code.INVALID_REQUEST, "The job has no webhook.")
            case "unknown":
                raise unknown_job()

    async def given_up(self, *, limit: int) -> list[tuple[Job, Delivery | None]]:
        """Returns jobs whose webhook was given up, newest first; the delivery is None after its record expired."""
        found = await self._scripts.run("webhook_given_up", limit=limit)
        return [(job_from_reply(record), _read(delivery)) for record, delivery in found]

    async def delivery(self, job_id: str) -> Delivery | None:
        """Returns the latest delivery of a job's webhook, or None if it was never sent."""
        async with redis_errors_as_problems():
            record = await self._redis.get(f"{self._prefix}webhooks:delivery:{job_id}")
        return _read(record)

    async def backlog(self) -> DeliveryBacklog:
        reply = json.loads(await self._scripts.run("webhook_backlog"))
        return DeliveryBacklog(int(reply["pending"]), float(reply["overdue_s"]))


def _read(record: bytes | str | None) -> Delivery | None:
    return _delivery.validate_json(record) if record else None


def receiver_origin(webhook: Webhook) -> str:
    """Returns scheme, host and port of the address. Receivers of one origin are up or down together."""
    return str(URL(webhook.url).origin())


def delivery_lane(caller: str, webhook: Webhook) -> str:
    """Returns the name of the lane in which deliveries of one caller to one receiver wait."""
    return f"{caller} {receiver_origin(webhook)}"


def lane_caller(lane: str) -> str:
    """Returns the caller of a lane; empty for lanes of earlier versions, which all callers shared."""
    return lane.partition(" ")[0] if " " in lane else ""
