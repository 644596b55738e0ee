import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.message import WebhookMessage
from sightline.jobs.webhooks.sender import DeliveryAttempt, WebhookSender
from sightline.jobs.webhooks.settings import WebhookSettings
from tests.jobs.webhooks.conftest import SECRET, Handler, OpenReceiver

pytestmark = pytest.mark.anyio

MESSAGE = WebhookMessage("job-succeeded-1", b'{"type":"job.succeeded"}')


async def send(
    url: str, settings: WebhookSettings, lookup: Callable[[str], list[str]] | None = None
) -> DeliveryAttempt:
    async with WebhookSender.open(settings, lookup=lookup) as sender:
        return await sender.send(Webhook(url, SECRET), MESSAGE)


def redirect_to(location: str, status: int = 307) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return handler


async def test_a_signed_message_arrives(open_receiver: OpenReceiver, local_settings: WebhookSettings) -> None:
    receiver = await open_receiver()
    attempt = await send(f"{receiver.url}/hook?a=b", local_settings)
    assert attempt.delivered
    assert attempt.status == 204
    assert attempt.failure is None
    assert receiver.events == [{"type": "job.succeeded"}]
    assert receiver.ids == [MESSAGE.id]


@pytest.mark.parametrize(("status", "unwanted"), [(303, False), (400, False), (404, False), (410, True), (500, False)])
async def test_unsuccessful_status_is_a_failure(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, status: int, unwanted: bool
) -> None:
    receiver = await open_receiver(redirect_to("/elsewhere", status))
    attempt = await send(receiver.url, local_settings)
    assert not attempt.delivered
    assert (attempt.status, attempt.unwanted) == (status, unwanted)
    assert len(receiver.paths) == 1


async def test_a_receiver_can_say_when_to_come_again(
    open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "120"})

    receiver = await open_receiver(busy)
    assert (await send(receiver.url, local_settings)).retry_after_s == 120


async def test_a_receiver_that_does_not_answer_costs_the_timeout_only(
    open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    receiver = await open_receiver(hang)
    attempt = await send(receiver.url, local_settings.model_copy(update={"timeout_s": 0.2}))
    assert attempt.status is None
    assert attempt.failure == "The receiver did not answer within 0.2 s."
    assert len(receiver.events) == 1


async def test_an_answer_without_end_is_not_read(open_receiver: OpenReceiver, local_settings: WebhookSettings) -> None:
    sent_bytes = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent_bytes
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(bytes(65536))
            sent_bytes += 65536

    receiver = await open_receiver(pour)
    assert (await send(receiver.url, local_settings)).delivered
    assert sent_bytes < 64 * 1024 * 1024


async def test_closed_port_is_reported(local_settings: WebhookSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert (await send(url, local_settings)).failure == "The connection to the receiver failed."


async def test_private_and_unknown_names_cannot_be_told_apart(local_settings: WebhookSettings) -> None:
    release = threading.Event()

    def lookup(name: str) -> list[str]:
        match name:
            case "private.test":
                return ["10.0.0.1"]
            case "mixed.test":
                return ["1.1.1.1", "10.0.0.1"]
            case "slow.test":
                release.wait(10)
        raise OSError("unknown")

    refused_s = local_settings.name_refusal_s
    try:
        async with WebhookSender.open(local_settings, lookup=lookup) as sender:
            for name in ("private", "mixed", "slow", "unknown"):
                attempt = await sender.send(Webhook(f"http://{name}.test/", SECRET), MESSAGE)
                assert attempt.failure == "The receiver's name does not resolve to a public address."
                # To the clock's precision.
                assert attempt.duration_s > 0.99 * refused_s
            assert not release.is_set()
    finally:
        release.set()


async def test_unknown_host_name_is_reported(local_settings: WebhookSettings) -> None:
    attempt = await send("http://receiver.invalid/", local_settings)
    assert attempt.failure == "The receiver's name does not resolve to a public address."


@pytest.mark.parametrize("url", ["http://127.0.0.2:{port}/", "http://[::1]:{port}/", "http://localhost:{port}/"])
async def test_nothing_else_on_this_machine_is_called(open_receiver: OpenReceiver, url: str) -> None:
    receiver = await open_receiver()
    attempt = await send(url.format(port=receiver.port), WebhookSettings(name_refusal_s=0.05))
    assert attempt.status is None
    assert "public" in str(attempt.failure)
    assert receiver.paths == []


async def test_the_address_that_was_judged_is_the_one_that_is_called(
    open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver()
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1" if len(asked) == 1 else "127.0.0.2"]

    url = f"http://receiver.test:{receiver.port}/"
    async with WebhookSender.open(local_settings, lookup=lookup) as sender:
        first = await sender.send(Webhook(url, SECRET), MESSAGE)
        assert asked == ["receiver.test"]
        second = await sender.send(Webhook(url, SECRET), MESSAGE)
    assert first.delivered
    assert second.failure == "The receiver's name does not resolve to a public address."
    assert len(receiver.paths) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_message_follows_a_redirect(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, status: int
) -> None:
    there = await open_receiver()
    here = await open_receiver(redirect_to(f"{there.url}/moved", status))
    assert (await send(here.url, local_settings)).delivered
    assert there.paths == ["/moved"]
    assert there.events == here.events


@pytest.mark.parametrize(
    "location", ["http://127.0.0.2:{port}/", "http://inside.test:{port}/", "file:///etc/passwd", "http://u:p@1.1.1.1/"]
)
async def test_a_redirect_is_judged_like_the_first_address(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, location: str
) -> None:
    inside = await open_receiver(host="127.0.0.2")
    outside = await open_receiver(redirect_to(location.format(port=inside.port)))
    addresses = {"outside.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"]}
    attempt = await send(f"http://outside.test:{outside.port}/", local_settings, addresses.__getitem__)
    assert attempt.status is None
    assert attempt.failure
    assert (len(outside.paths), inside.paths) == (1, [])


async def test_redirects_come_to_an_end(open_receiver: OpenReceiver, local_settings: WebhookSettings) -> None:
    receiver = await open_receiver(redirect_to("/again"))
    attempt = await send(receiver.url, local_settings)
    assert attempt.failure == "The receiver redirected more than 3 times."
    assert len(receiver.paths) == 4


async def test_a_proxy_of_the_environment_is_not_used(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    receiver = await open_receiver()
    assert (await send(receiver.url, local_settings)).delivered


async def test_a_secret_that_signs_nothing_is_a_failure(
    open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver()
    async with WebhookSender.open(local_settings) as sender:
        attempt = await sender.send(Webhook(receiver.url, "hunter2"), MESSAGE)
    assert attempt.failure
    assert "hunter2" not in attempt.failure
    assert receiver.paths == []


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """For a server whose name is receiver.test."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=receiver.test"
    names = ["-addext", "subjectAltName=DNS:receiver.test", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(["openssl", *options.split(), *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_the_certificate_is_checked_for_the_name_not_the_address(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, tls: ssl.SSLContext
) -> None:
    receiver = await open_receiver(tls=tls)
    right, wrong = [
        await send(f"https://{name}:{receiver.port}/", local_settings, lambda _: ["127.0.0.1"])
        for name in ("receiver.test", "other.test")
    ]
    assert right.delivered
    assert wrong.failure == "No secure connection to the receiver could be made: its certificate does not hold."
    assert len(receiver.events) == 1


async def test_a_receiver_without_tls_is_not_blamed_for_its_certificate(
    open_receiver: OpenReceiver, local_settings: WebhookSettings
) -> None:
    receiver = await open_receiver()
    attempt = await send(f"https://receiver.test:{receiver.port}/", local_settings, lambda _: ["127.0.0.1"])
    assert attempt.failure == "No secure connection to the receiver could be made."


async def test_a_redirect_never_leaves_tls(
    open_receiver: OpenReceiver, local_settings: WebhookSettings, tls: ssl.SSLContext
) -> None:
    plain = await open_receiver()
    receiver = await open_receiver(redirect_to(plain.url), tls=tls)
    attempt = await send(f"https://receiver.test:{receiver.port}/", local_settings, lambda _: ["127.0.0.1"])
    assert attempt.failure == "The receiver redirected from https to an address without it."
    assert plain.paths == []
