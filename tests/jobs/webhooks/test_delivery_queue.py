from dataclasses import replace

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.delivery_queue import (
    Delivery,
    DeliveryBacklog,
    DeliveryLease,
    DeliveryQueue,
    DeliveryStatus,
)
from tests.jobs.conftest import Bench, submission
from tests.jobs.webhooks.conftest import SECRET

pytestmark = pytest.mark.anyio

RECEIVER = "https://example.org"
WEBHOOK = Webhook(f"{RECEIVER}/hook", SECRET)
FAILED = Delivery("message-1", DeliveryStatus.PENDING, 1, 1000.0, 500)
LEASE_S = TTL_S = 60.0


@pytest.fixture
def outbox(bench: Bench) -> DeliveryQueue:
    return DeliveryQueue(bench.redis, bench.settings)


async def end_a_job(bench: Bench, job_id: str, webhook: Webhook | None = WEBHOOK) -> None:
    await bench.queue.submit(submission(job_id, webhook=webhook))
    await bench.queue.cancel(job_id)


async def post(bench: Bench, outbox: DeliveryQueue, job_id: str, receiver: str = RECEIVER) -> None:
    await end_a_job(bench, job_id)
    await outbox.route(job_id, receiver)


async def take(outbox: DeliveryQueue, *, limit: int = 10) -> list[DeliveryLease]:
    return await outbox.take(RECEIVER, limit=limit, lease_s=LEASE_S)


async def let_all_be_due(bench: Bench) -> None:
    await bench.let_come("webhooks:lanes")
    await bench.let_come(f"webhooks:lane:{RECEIVER}")


async def test_jobs_with_a_webhook_arrive_when_they_end(bench: Bench, outbox: DeliveryQueue) -> None:
    await bench.queue.submit(submission("live", webhook=WEBHOOK))
    assert await outbox.unrouted(limit=10) == []
    await end_a_job(bench, "ended")
    await end_a_job(bench, "silent", webhook=None)
    assert await outbox.unrouted(limit=10) == ["ended"]


async def test_ended_job_is_routed_to_its_receiver_once(bench: Bench, outbox: DeliveryQueue) -> None:
    await post(bench, outbox, "job")
    await outbox.route("job", "https://example.com")
    assert await outbox.unrouted(limit=10) == []
    assert await outbox.due_receivers(limit=10) == [RECEIVER]


async def test_ended_job_without_receiver_is_dropped(bench: Bench, outbox: DeliveryQueue) -> None:
    await end_a_job(bench, "job")
    await outbox.route("job", None)
    assert await outbox.backlog() == DeliveryBacklog(pending=0, overdue_s=0.0)


async def test_leased_delivery_is_not_taken_twice(bench: Bench, outbox: DeliveryQueue) -> None:
    for job_id in ("one", "two", "three"):
        await post(bench, outbox, job_id)
    assert [ticket.job_id for ticket in await take(outbox, limit=2)] == ["one", "two"]
    assert [ticket.job_id for ticket in await take(outbox)] == ["three"]
    assert await take(outbox) == []
    assert await outbox.due_receivers(limit=10) == []


async def test_a_delivery_comes_back_when_its_lease_ends_and_the_late_one_changes_nothing(
    bench: Bench, outbox: DeliveryQueue
) -> None:
    await post(bench, outbox, "job")
    (late,) = await take(outbox)
    await let_all_be_due(bench)
    (current,) = await take(outbox)
    assert not await outbox.settle(late, FAILED, retry_in_s=None, ttl_s=TTL_S)
    assert await outbox.delivery("job") is None
    assert await outbox.settle(current, FAILED, retry_in_s=None, ttl_s=TTL_S)
    assert not await outbox.settle(current, FAILED, retry_in_s=None, ttl_s=TTL_S)


async def test_postponed_delivery_returns_with_its_record(bench: Bench, outbox: DeliveryQueue) -> None:
    await post(bench, outbox, "job")
    (ticket,) = await take(outbox)
    assert ticket.last is None
    assert await outbox.settle(ticket, FAILED, retry_in_s=600, ttl_s=TTL_S)
    assert await outbox.due_receivers(limit=10) == []
    assert await outbox.delivery("job") == FAILED
    await let_all_be_due(bench)
    assert await outbox.due_receivers(limit=10) == [RECEIVER]
    (ticket,) = await take(outbox)
    assert ticket.last == FAILED


async def test_settled_delivery_leaves_only_an_expiring_record(bench: Bench, outbox: DeliveryQueue) -> None:
    await post(bench, outbox, "job")
    (ticket,) = await take(outbox)
    assert await outbox.settle(ticket, FAILED, retry_in_s=None, ttl_s=TTL_S)
    left = await bench.redis.keys(f"{bench.settings.redis_prefix}webhooks:*")
    assert left == [f"{bench.settings.redis_prefix}webhooks:delivery:job"]
    assert 0 < await bench.redis.ttl(left[0]) <= TTL_S


async def test_given_up_message_can_be_listed_and_resent(bench: Bench, outbox: DeliveryQueue) -> None:
    await post(bench, outbox, "job")
    (ticket,) = await take(outbox)
    lost = replace(FAILED, fate=DeliveryStatus.GIVEN_UP)
    assert await outbox.settle(ticket, lost, retry_in_s=None, ttl_s=TTL_S)
    assert [(job.id, delivery) for job, delivery in await outbox.given_up(limit=10)] == [("job", lost)]

    await outbox.resend("job")

    assert await outbox.given_up(limit=10) == []
    assert await outbox.unrouted(limit=10) == ["job"]
    await outbox.route("job", RECEIVER)
    (ticket,) = await take(outbox)
    assert ticket.last is None
    assert await outbox.settle(ticket, lost, retry_in_s=None, ttl_s=TTL_S)
    await bench.dead_letters.purge("job")
    assert await outbox.given_up(limit=10) == []


async def test_only_jobs_with_a_webhook_are_resent(bench: Bench, outbox: DeliveryQueue) -> None:
    await bench.queue.submit(submission("live", webhook=WEBHOOK))
    await end_a_job(bench, "silent", webhook=None)
    for job_id, code in (("live", Code.INVALID_REQUEST), ("silent", Code.INVALID_REQUEST), ("none", Code.NOT_FOUND)):
        with pytest.raises(Problem) as raised:
            await outbox.resend(job_id)
        assert raised.value.code is code


async def test_receivers_do_not_stand_in_each_others_way(bench: Bench, outbox: DeliveryQueue) -> None:
    for number in range(5):
        await post(bench, outbox, f"stuck-{number}")
    await post(bench, outbox, "other", "https://example.com")
    assert await outbox.due_receivers(limit=10) == [RECEIVER, "https://example.com"]
    assert len(await take(outbox, limit=2)) == 2
    (ticket,) = await outbox.take("https://example.com", limit=2, lease_s=LEASE_S)
    assert ticket.job_id == "other"


async def test_the_backlog_counts_all_that_is_not_settled(bench: Bench, outbox: DeliveryQueue) -> None:
    await end_a_job(bench, "arrived")
    await post(bench, outbox, "put-off")
    await post(bench, outbox, "due")
    ticket, _ = await take(outbox)
    await outbox.settle(ticket, FAILED, retry_in_s=600, ttl_s=TTL_S)
    assert (await outbox.backlog()).pending == 3
    await bench.let_come("webhooks:due")
    assert (await outbox.backlog()).overdue_s > 1e9
