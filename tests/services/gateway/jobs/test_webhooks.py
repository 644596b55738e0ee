import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code
from sightline.jobs.connection import connect
from sightline.jobs.job import BlobRef, JobReason, Priority, StoredRequest, Submission, Webhook
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.settings import WebhookSettings
from tests.services.gateway.conftest import PATIENCE_S, Eventually, Server, Start, event_set

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOCAL = {"allowed_networks": ["127.0.0.1/32"], "poll_interval_s": 0.05}


@dataclass
class Receiver:
    status: int = 204
    events: list[Mapping[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event | None = None

    async def receive(self, request: Request) -> Response:
        self.events.append(Verifier(SECRET).verify(await request.body(), dict(request.headers)))
        self.ids.append(request.headers["webhook-id"])
        self.reached.set()
        if self.release:
            await event_set(self.release)
        return Response(status_code=self.status)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/hook", self.receive, methods=["POST"])])


def open_gateway(
    start: Start, jobs: JobSettings | None = None, gateway: GatewaySettings | None = None, **webhooks: object
) -> Server:
    settings = WebhookSettings.model_validate({**LOCAL, **webhooks})
    return start(create_app(gateway or GatewaySettings(), jobs=jobs or JobSettings(redis_url=None), webhooks=settings))


def try_out(gateway: Server, url: str, secret: str = SECRET) -> httpx2.Response:
    return httpx2.post(f"{gateway.url}/v1/webhooks/test", json={"url": url, "secret": secret}, timeout=PATIENCE_S)


def test_test_event_is_delivered(start: Start) -> None:
    receiver, gateway = Receiver(), open_gateway(start)
    report = try_out(gateway, f"{start(receiver.app).url}/hook").json()
    assert (report["delivered"], report["status"], report["detail"]) == (True, 204, "The receiver accepted it.")
    assert report["duration_ms"] > 0
    assert receiver.ids == [report["message_id"]]
    assert receiver.events[0]["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [("/hook", 500, "The receiver answered 500."), ("/other", 404, "The receiver answered 404.")],
)
def test_report_names_the_reason_of_a_failed_delivery(start: Start, path: str, status: int, detail: str) -> None:
    reply = try_out(open_gateway(start), f"{start(Receiver(status=500).app).url}{path}")
    report = reply.json()
    assert reply.status_code == 200
    assert (report["delivered"], report["status"], report["detail"]) == (False, status, detail)


def test_receiver_in_a_forbidden_network_is_not_called(start: Start) -> None:
    receiver = Receiver()
    port = start(receiver.app).address[1]
    gateway = open_gateway(start, allowed_networks=[], name_refusal_s=0.2)
    for host in ("localhost", "receiver.invalid"):
        report = try_out(gateway, f"http://{host}:{port}/hook").json()
        assert (report["delivered"], report["status"]) == (False, None)
        assert report["detail"] == "The receiver's name does not resolve to a public address."
        assert report["duration_ms"] >= 199
    assert receiver.events == []


@pytest.mark.parametrize(
    ("url", "secret"),
    [("http://127.0.0.2/hook", SECRET), ("ftp://example.org/", SECRET), ("hook", SECRET), ("https://a.org/", "secret")],
)
def test_invalid_receivers_are_refused(start: Start, url: str, secret: str) -> None:
    reply = try_out(open_gateway(start), url, secret)
    assert reply.status_code == 400
    assert reply.json()["code"] == Code.INVALID_REQUEST
    assert url not in reply.text


def test_concurrent_test_events_are_limited(start: Start) -> None:
    receiver = Receiver(release=threading.Event())
    url, gateway = f"{start(receiver.app).url}/hook", open_gateway(start, max_tests=1)
    first = threading.Thread(target=try_out, args=[gateway, url])
    first.start()
    assert receiver.reached.wait(PATIENCE_S)
    reply = try_out(gateway, url)
    assert receiver.release
    receiver.release.set()
    first.join()
    assert reply.status_code == 503
    assert reply.json()["code"] == Code.OVERLOADED
    assert try_out(gateway, url).status_code == 200


def test_test_event_counts_towards_the_concurrency_limit(start: Start) -> None:
    receiver = Receiver(release=threading.Event())
    url, gateway = f"{start(receiver.app).url}/hook", open_gateway(start, gateway=GatewaySettings(max_requests=1))
    first = threading.Thread(target=try_out, args=[gateway, url])
    first.start()
    assert receiver.reached.wait(PATIENCE_S)
    replies = [try_out(gateway, url), httpx2.post(f"{gateway.url}/v2/repository/index", json={})]
    assert httpx2.get(f"{gateway.url}/livez").status_code == 200
    assert receiver.release
    receiver.release.set()
    first.join()
    assert [reply.json()["code"] for reply in replies] == [Code.OVERLOADED] * 2
    assert try_out(gateway, url).status_code == 200


def test_webhook_reports_the_end_of_a_job(start: Start, redis_url: str, tmp_path: Path, eventually: Eventually) -> None:
    receiver = Receiver()
    webhook = Webhook(f"{start(receiver.app).url}/hook", SECRET)
    jobs = JobSettings(redis_url=redis_url, blobs_url=f"file://{tmp_path}")
    gateway = open_gateway(start, jobs, GatewaySettings(root_path="/sightline"))
    asyncio.run(_cancel_a_job(jobs, webhook))
    assert receiver.reached.wait(PATIENCE_S)
    assert receiver.events[0]["type"] == "job.cancelled"
    assert receiver.events[0]["data"]["id"] == "job-1"
    assert receiver.events[0]["data"]["state"] == "cancelled"
    assert receiver.events[0]["data"]["links"]["self"] == "/sightline/v1/jobs/job-1"
    assert SECRET not in str(receiver.events)
    sample = 'sightline_webhook_attempts_total{outcome="delivered"} 1.0'
    eventually(lambda: sample in httpx2.get(f"{gateway.url}/metrics").text)
    reported = httpx2.get(f"{gateway.url}/v1/jobs/job-1").json()["webhook"]
    assert (reported["state"], reported["attempts"], reported["status"]) == ("delivered", 1, 204)


async def _cancel_a_job(settings: JobSettings, webhook: Webhook) -> None:
    request = StoredRequest("/v1/echo", "", "image/png", None, BlobRef("0" * 64, 1))
    async with connect(str(settings.redis_url)) as redis:
        queue = JobQueue(redis, settings)
        await queue.submit(
            Submission(
                id="job-1",
                model="echo",
                owner="public",
                priority=Priority.BULK,
                reason=JobReason.ASKED,
                request=request,
                request_id="request-1",
                fingerprint="0" * 64,
                webhook=webhook,
            )
        )
        await queue.cancel("job-1")
