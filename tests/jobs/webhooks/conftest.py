"""A receiver of webhooks on a real socket."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Verifier

from sightline.jobs.webhooks.settings import WebhookSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """Verifies whatever comes and keeps it; answers by its handler, or 204."""

    url: str = ""
    handler: Handler | None = None
    events: list[Mapping[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.ids.append(request.headers["webhook-id"])
        self.events.append(Verifier(SECRET).verify(await request.read(), dict(request.headers)))
        return await self.handler(request) if self.handler else web.Response(status=204)


class OpenReceiver(Protocol):
    async def __call__(
        self, handler: Handler | None = None, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> Receiver: ...


@pytest.fixture
async def open_receiver() -> AsyncIterator[OpenReceiver]:
    """Opens receivers that live until the test ends."""
    async with AsyncExitStack() as stack:

        async def open_receiver(
            handler: Handler | None = None, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
        ) -> Receiver:
            receiver = Receiver(handler=handler)
            receiver.url = await stack.enter_async_context(_serving(receiver, host, tls))
            return receiver

        yield open_receiver


@asynccontextmanager
async def _serving(receiver: Receiver, host: str, tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
def local_settings() -> WebhookSettings:
    """Receivers may be at 127.0.0.1, and nowhere else on this machine."""
    networks, quick = {"allowed_networks": ["127.0.0.1/32"]}, {"poll_interval_s": 0.02, "name_refusal_s": 0.1}
    return WebhookSettings.model_validate({**networks, **quick})
