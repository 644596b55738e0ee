"""Runs an app factory under uvicorn: `python -m sightline.serving services.inpaint.app:create`."""

import asyncio
import math
import os
import signal
import socket
from functools import partial
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import uvicorn
from prometheus_client import CollectorRegistry

from sightline.http.logs import configure_logging
from sightline.http.settings import ServerSettings
from sightline.http.transport.connections import (
    ConnectionLimits,
    ConnectionTable,
    max_connections_within,
    raise_descriptor_limit,
)
from sightline.http.transport.listener import inherited_listener, signal_stopping
from sightline.http.transport.protocol import LimitedHttpProtocol
from sightline.runtime.deployables import make_services_importable
from sightline.runtime.private_files import UMASK
from sightline.runtime.tracing import configure_tracing

TICKS_PER_SWEEP = 10  # uvicorn ticks ten times a second


@runtime_checkable
class Drainable(Protocol):
    """The member `service` of the lifespan's state, which starts to drain before the port closes."""

    def start_draining(self) -> None: ...


class GracefulServer(uvicorn.Server):
    """A server that announces its end before it closes its port.

    uvicorn closes its port at once on SIGTERM while balancers still send; here readiness turns false first, and the
    port closes `notice_s` later.
    """

    def __init__(self, config: uvicorn.Config, table: ConnectionTable, *, notice_s: float) -> None:
        super().__init__(config)
        self.connections, self._notice_s = table, notice_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        registry = self.lifespan.state.get("registry")
        if isinstance(registry, CollectorRegistry):
            self.connections.metrics.show(registry)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SWEEP == 0:
            self.connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        service = self.lifespan.state.get("service")
        if isinstance(service, Drainable):
            service.start_draining()
        signal_stopping()
        if isinstance(service, Drainable) and sig == signal.SIGTERM and self._notice_s:
            asyncio.get_running_loop().call_later(self._notice_s, super().handle_exit, sig, None)
            return
        super().handle_exit(sig, frame)


def serve(factory: str, settings: ServerSettings) -> None:
    """Serves until SIGTERM or SIGINT; the port stays open for `drain_notice_s` after SIGTERM."""
    os.umask(UMASK)
    make_services_importable()
    name = factory.partition(":")[0]
    configure_logging(settings.log_level, service=name)
    configure_tracing(name.removeprefix("services.").removesuffix(".app"))
    listener = inherited_listener()
    limited_server(factory, settings, factory=True).run(None if listener is None else [listener])


def limited_server(app: Any, settings: ServerSettings, *, factory: bool = False) -> GracefulServer:
    """Returns a server with the settings' limits, for an application or the import path of its factory."""
    table = ConnectionTable(connection_limits(settings, descriptors=raise_descriptor_limit()))
    config = uvicorn.Config(
        app,
        factory=factory,
        host=settings.host,
        port=settings.port,
        http=partial(LimitedHttpProtocol, table=table),  # type: ignore[arg-type]  # called like a class, and no more
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe the X-Forwarded-* of every process on this machine; the gateway has a setting for it.
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
    )
    return GracefulServer(config, table, notice_s=settings.drain_notice_s)


def connection_limits(settings: ServerSettings, *, descriptors: int) -> ConnectionLimits:
    """Returns the limits: no more connections than files may be open, at most half of them from one address."""
    max_connections = min(settings.max_connections, max_connections_within(descriptors))
    return ConnectionLimits(
        max_connections=max_connections,
        max_per_address=min(settings.max_connections_per_address, max(1, max_connections // 2)),
        head_timeout_s=settings.head_timeout_s,
        min_bytes_per_s=settings.min_bytes_per_s,
        rate_window_s=settings.rate_window_s,
        exempt=settings.trusted_proxies,
    )
