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
def delivery_queue(bench: Bench) -> DeliveryQueue:
    return DeliveryQueue(bench.redis, bench.settings)


async def end_a_job(bench: Bench, job_id: str, webhook: Webhook | None = WEBHOOK) -> None:
    await bench.queue.submit(submission(job_id, webhook=webhook))
    await bench.queue.cancel(job_id)


async def post(bench: Bench, delivery_queue: DeliveryQueue, job_id: str, receiver: str = RECEIVER) -> None:
    await end_a_job(bench, job_id)
    await delivery_queue.route(job_id, receiver)


async def take(delivery_queue: DeliveryQueue, *, limit: int = 10) -> list[DeliveryLease]:
    return await delivery_queue.take(RECEIVER, limit=limit, lease_s=LEASE_S)


async def let_all_be_due(bench: Bench) -> None:
    await bench.let_come("webhooks:lanes")
    await bench.let_come(f"webhooks:lane:{RECEIVER}")


async def test_jobs_with_a_webhook_arrive_when_they_end(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await bench.queue.submit(submission("live", webhook=WEBHOOK))
    assert await delivery_queue.unrouted(limit=10) == []
    await end_a_job(bench, "ended")
    await end_a_job(bench, "silent", webhook=None)
    assert await delivery_queue.unrouted(limit=10) == ["ended"]


async def test_ended_job_is_routed_to_its_receiver_once(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await post(bench, delivery_queue, "job")
    await delivery_queue.route("job", "https://example.com")
    assert await delivery_queue.unrouted(limit=10) == []
    assert await delivery_queue.due_receivers(limit=10) == [RECEIVER]


async def test_ended_job_without_receiver_is_dropped(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await end_a_job(bench, "job")
    await delivery_queue.route("job", None)
    assert await delivery_queue.backlog() == DeliveryBacklog(pending=0, overdue_s=0.0)


async def test_leased_delivery_is_not_taken_twice(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    for job_id in ("one", "two", "three"):
        await post(bench, delivery_queue, job_id)
    assert [lease.job_id for lease in await take(delivery_queue, limit=2)] == ["one", "two"]
    assert [lease.job_id for lease in await take(delivery_queue)] == ["three"]
    assert await take(delivery_queue) == []
    assert await delivery_queue.due_receivers(limit=10) == []


async def test_a_delivery_comes_back_when_its_lease_ends_and_the_late_one_changes_nothing(
    bench: Bench, delivery_queue: DeliveryQueue
) -> None:
    await post(bench, delivery_queue, "job")
    (late,) = await take(delivery_queue)
    await let_all_be_due(bench)
    (current,) = await take(delivery_queue)
    assert not await delivery_queue.settle(late, FAILED, retry_in_s=None, ttl_s=TTL_S)
    assert await delivery_queue.delivery("job") is None
    assert await delivery_queue.settle(current, FAILED, retry_in_s=None, ttl_s=TTL_S)
    assert not await delivery_queue.settle(current, FAILED, retry_in_s=None, ttl_s=TTL_S)


async def test_postponed_delivery_returns_with_its_record(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await post(bench, delivery_queue, "job")
    (lease,) = await take(delivery_queue)
    assert lease.last is None
    assert await delivery_queue.settle(lease, FAILED, retry_in_s=600, ttl_s=TTL_S)
    assert await delivery_queue.due_receivers(limit=10) == []
    assert await delivery_queue.delivery("job") == FAILED
    await let_all_be_due(bench)
    assert await delivery_queue.due_receivers(limit=10) == [RECEIVER]
    (lease,) = await take(delivery_queue)
    assert lease.last == FAILED


async def test_settled_delivery_leaves_only_an_expiring_record(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await post(bench, delivery_queue, "job")
    (lease,) = await take(delivery_queue)
    assert await delivery_queue.settle(lease, FAILED, retry_in_s=None, ttl_s=TTL_S)
    left = await bench.redis.keys(f"{bench.settings.redis_prefix}webhooks:*")
    assert left == [f"{bench.settings.redis_prefix}webhooks:delivery:job"]
    assert 0 < await bench.redis.ttl(left[0]) <= TTL_S


async def test_given_up_message_can_be_listed_and_resent(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await post(bench, delivery_queue, "job")
    (lease,) = await take(delivery_queue)
    lost = replace(FAILED, fate=DeliveryStatus.GIVEN_UP)
    assert await delivery_queue.settle(lease, lost, retry_in_s=None, ttl_s=TTL_S)
    assert [(job.id, delivery) for job, delivery in await delivery_queue.given_up(limit=10)] == [("job", lost)]

    await delivery_queue.resend("job")

    assert await delivery_queue.given_up(limit=10) == []
    assert await delivery_queue.unrouted(limit=10) == ["job"]
    await delivery_queue.route("job", RECEIVER)
    (lease,) = await take(delivery_queue)
    assert lease.last is None
    assert await delivery_queue.settle(lease, lost, retry_in_s=None, ttl_s=TTL_S)
    await bench.dead_letters.purge("job")
    assert await delivery_queue.given_up(limit=10) == []


async def test_only_jobs_with_a_webhook_are_resent(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await bench.queue.submit(submission("live", webhook=WEBHOOK))
    await end_a_job(bench, "silent", webhook=None)
    for job_id, code in (("live", Code.INVALID_REQUEST), ("silent", Code.INVALID_REQUEST), ("none", Code.NOT_FOUND)):
        with pytest.raises(Problem) as raised:
            await delivery_queue.resend(job_id)
        assert raised.value.code is code


async def test_receivers_do_not_stand_in_each_others_way(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    for number in range(5):
        await post(bench, delivery_queue, f"stuck-{number}")
    await post(bench, delivery_queue, "other", "https://example.com")
    assert await delivery_queue.due_receivers(limit=10) == [RECEIVER, "https://example.com"]
    assert len(await take(delivery_queue, limit=2)) == 2
    (lease,) = await delivery_queue.take("https://example.com", limit=2, lease_s=LEASE_S)
    assert lease.job_id == "other"


async def test_the_backlog_counts_all_that_is_not_settled(bench: Bench, delivery_queue: DeliveryQueue) -> None:
    await end_a_job(bench, "arrived")
    await post(bench, delivery_queue, "put-off")
    await post(bench, delivery_queue, "due")
    lease, _ = await take(delivery_queue)
    await delivery_queue.settle(lease, FAILED, retry_in_s=600, ttl_s=TTL_S)
    assert (await delivery_queue.backlog()).pending == 3
    await bench.let_come("webhooks:due")
    assert (await delivery_queue.backlog()).overdue_s > 1e9
