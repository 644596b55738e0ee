import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from sightline.jobs.connection import connect
from sightline.jobs.job import Job, JobState, Webhook
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import DeliveryQueue, DeliveryStatus
from sightline.jobs.webhooks.dispatcher import WebhookDispatcher, WebhookMetrics
from sightline.jobs.webhooks.sender import WebhookSender
from sightline.jobs.webhooks.settings import WebhookSettings
from tests.jobs.conftest import OWNER, PROBLEM, Bench, OpenBench, outcome, submission
from tests.jobs.webhooks.conftest import SECRET, Handler, OpenReceiver, Receiver
from tests.redis_server import DURABLE, EMBEDDED, running_redis

pytestmark = pytest.mark.anyio

PATIENCE_S = 20.0


def render(job: Job) -> Mapping[str, Any]:
    return {"id": job.id, "state": job.state}


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


async def receives(receiver: Receiver, number: int) -> None:
    async def enough() -> bool:
        return len(receiver.events) >= number

    await eventually(enough)


@asynccontextmanager
async def delivering(
    bench: Bench, settings: WebhookSettings, registry: CollectorRegistry | None = None, **changes: object
) -> AsyncIterator[DeliveryQueue]:
    settings = settings.model_copy(update=changes)
    metrics = WebhookMetrics(registry or CollectorRegistry())
    async with WebhookSender.open(settings) as sender:
        deliveries = WebhookDispatcher(
            bench.redis, bench.settings, settings, sender=sender, render=render, metrics=metrics
        )
        task = asyncio.create_task(deliveries.run())
        try:
            yield DeliveryQueue(bench.redis, bench.settings)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def settled(delivery_queue: DeliveryQueue) -> None:
    async def nothing_pending() -> bool:
        return (await delivery_queue.backlog()).pending == 0

    await eventually(nothing_pending)


async def cancel_a_job(bench: Bench, job_id: str, receiver: Receiver) -> None:
    await bench.queue.submit(submission(job_id, webhook=Webhook(f"{receiver.url}/hook", SECRET)))
    await bench.queue.cancel(job_id)


async def end(bench: Bench, job_id: str, state: JobState) -> None:
    if state is JobState.CANCELLED:
        await bench.queue.cancel(job_id)
        return
    lease = await bench.take()
    if state is JobState.SUCCEEDED:
        await bench.leases.finish(lease, outcome())
    else:
        await bench.leases.fail(lease, PROBLEM, transient=state is JobState.DEAD)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED])
async def test_webhook_is_sent_for_every_final_state(
    open_bench: OpenBench, open_receiver: OpenReceiver, local_settings: WebhookSettings, state: JobState
) -> None:
    bench, receiver = open_bench(max_attempts=1), await open_receiver()
    async with delivering(bench, local_settings) as delivery_queue:
        await bench.queue.submit(submission("job", webhook=Webhook(receiver.url, SECRET)))
        await end(bench, "job", state)
        await receives(receiver, 1)
        await settled(delivery_queue)
        delivery = await delivery_queue.delivery("job")
    (event,) = receiver.events
    assert (event["type"], event["data"]) == (f"job.{state}", {"id": "job", "state": state})
    assert delivery is not None
    assert (delivery.fate, delivery.attempts, delivery.status) == (DeliveryStatus.DELIVERED, 1, 204)


def failing(times: int) -> Handler:
    answers = iter([500] * times)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=next(answers, 204))

    return handler


async def test_a_failed_message_is_sent_again_as_the_same(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver(failing(2))
    async with delivering(bench, local_settings, retry_delays_s=(0.01, 0.02, 0.03)) as delivery_queue:
        await cancel_a_job(bench, "job", receiver)
        await receives(receiver, 3)
        await settled(delivery_queue)
        delivery = await delivery_queue.delivery("job")
    assert len(receiver.events) == 3
    assert len(set(receiver.ids)) == 1
    assert delivery is not None
    assert (delivery.fate, delivery.attempts) == (DeliveryStatus.DELIVERED, 3)


async def test_message_is_given_up_at_the_end_of_the_schedule(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver, registry = await open_receiver(failing(99)), CollectorRegistry()
    async with delivering(bench, local_settings, registry, retry_delays_s=(0.01, 0.01)) as delivery_queue:
        await cancel_a_job(bench, "job", receiver)
        await receives(receiver, 3)
        await settled(delivery_queue)
        delivery = await delivery_queue.delivery("job")
    assert len(receiver.events) == 3
    assert delivery is not None
    assert (delivery.fate, delivery.attempts, delivery.status) == (DeliveryStatus.GIVEN_UP, 3, 500)
    assert registry.get_sample_value("sightline_webhooks_given_up_total") == 1
    assert registry.get_sample_value("sightline_webhook_attempts_total", {"outcome": "failed"}) == 3


async def test_a_receiver_that_is_gone_is_not_asked_again(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    async def gone(_: web.Request) -> web.StreamResponse:
        return web.Response(status=410)

    receiver = await open_receiver(gone)
    async with delivering(bench, local_settings) as delivery_queue:
        await cancel_a_job(bench, "job", receiver)
        await receives(receiver, 1)
        await settled(delivery_queue)
        delivery = await delivery_queue.delivery("job")
    assert delivery is not None
    assert (delivery.fate, delivery.attempts) == (DeliveryStatus.GIVEN_UP, 1)


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def test_a_dead_receiver_slows_nobody(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    dead, live = await open_receiver(hang), await open_receiver()
    for number in range(50):
        await cancel_a_job(bench, f"stuck-{number}", dead)
    async with delivering(bench, local_settings, max_deliveries=8, max_per_receiver=3) as delivery_queue:
        await receives(dead, 3)
        for number in range(30):
            await cancel_a_job(bench, f"job-for-live-{number}", live)
        await receives(live, 30)
        pending = (await delivery_queue.backlog()).pending
    assert len(dead.events) == 3
    assert pending >= 50


async def test_message_in_flight_when_the_process_ended_is_sent_again(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver(hang)
    async with delivering(bench, local_settings):
        await cancel_a_job(bench, "job", receiver)
        await receives(receiver, 1)
    receiver.handler = None
    await bench.let_come("webhooks:callers")
    await bench.let_come(f"webhooks:lanes:{OWNER}")
    await bench.let_come(f"webhooks:lane:{OWNER} {receiver.url}")
    async with delivering(bench, local_settings) as delivery_queue:
        await receives(receiver, 2)
        await settled(delivery_queue)
    assert receiver.ids[0] == receiver.ids[1]


async def test_webhook_of_a_retried_job_is_sent_when_it_ends_again(
    open_bench: OpenBench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    bench, receiver = open_bench(max_attempts=1), await open_receiver()
    await bench.queue.submit(submission("job", webhook=Webhook(receiver.url, SECRET)))
    await end(bench, "job", JobState.DEAD)
    await bench.dead_letters.retry("job")
    async with delivering(bench, local_settings) as delivery_queue:
        await settled(delivery_queue)
        assert receiver.events == []
        await end(bench, "job", JobState.SUCCEEDED)
        await receives(receiver, 1)
    assert [event["type"] for event in receiver.events] == ["job.succeeded"]


async def test_webhook_of_a_deleted_job_is_not_sent(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver()
    await cancel_a_job(bench, "job", receiver)
    await DeliveryQueue(bench.redis, bench.settings).route("job", receiver.url)
    await bench.dead_letters.purge("job")
    async with delivering(bench, local_settings) as delivery_queue:
        await settled(delivery_queue)
    assert receiver.events == []


async def test_invalid_address_does_not_delay_other_deliveries(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver()
    await bench.queue.submit(submission("odd", webhook=Webhook("no address", SECRET)))
    await bench.queue.cancel("odd")
    await cancel_a_job(bench, "job", receiver)
    async with delivering(bench, local_settings) as delivery_queue:
        await receives(receiver, 1)
        await settled(delivery_queue)


async def test_work_continues_when_redis_is_back(open_receiver: OpenReceiver, local_settings: WebhookSettings) -> None:
    receiver, registry = await open_receiver(), CollectorRegistry()
    with running_redis(EMBEDDED, *DURABLE) as server:
        async with connect(server.url) as redis:
            bench = Bench(redis, JobSettings(redis_url=server.url))
            await cancel_a_job(bench, "job", receiver)
            server.kill()
            async with delivering(bench, local_settings, registry):

                async def noticed() -> bool:
                    pending = registry.get_sample_value("sightline_webhooks_pending")
                    return pending is not None and math.isnan(pending)

                await eventually(noticed)
                server.start()
                await receives(receiver, 1)
    assert receiver.events[0]["data"] == {"id": "job", "state": "cancelled"}


async def test_hanging_receivers_of_one_caller_keep_nobody_else_waiting(
    bench: Bench, open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    dead, live = await open_receiver(hang, host="0.0.0.0"), await open_receiver()
    networks = WebhookSettings(allowed_networks=["127.0.0.0/8"]).allowed_networks  # type: ignore[list-item]
    for number in range(300):
        hook = Webhook(f"http://127.0.{1 + number // 200}.{1 + number % 200}:{dead.port}/", SECRET)
        await bench.queue.submit(submission(f"many{number}", owner="many", webhook=hook))
        await bench.queue.cancel(f"many{number}", owner="many")
    async with delivering(bench, local_settings, allowed_networks=networks, max_deliveries=16) as delivery_queue:
        await receives(dead, 12)
        for number in range(8):
            await bench.queue.submit(submission(f"few{number}", owner="few", webhook=Webhook(live.url, SECRET)))
            await bench.queue.cancel(f"few{number}", owner="few")
        await receives(live, 8)
        assert len(dead.events) == 12
        assert (await delivery_queue.backlog()).pending >= 300
