"""Runs an app factory under uvicorn: `python -m sightline.serving services.inpaint.app:create`."""

import asyncio
import math
import signal
from types import FrameType
from typing import Protocol, runtime_checkable

import uvicorn

from sightline.serving.logs import configure_logging
from sightline.serving.settings import ServiceSettings
from sightline.serving.tracing import configure_tracing

KEEP_ALIVE_S = 65  # longer than clients and gateways keep an idle connection, so that they are the ones to close it


@runtime_checkable
class Draining(Protocol):
    """What the lifespan's state has as `service`, to be told first that the process is to stop."""

    def start_draining(self) -> None: ...


class NoticedServer(uvicorn.Server):
    """Says that it stops before it does.

    uvicorn closes its port at once on SIGTERM while balancers still send; here readiness turns first, and the port
    closes after a notice.
    """

    def __init__(self, config: uvicorn.Config, *, notice_s: float) -> None:
        super().__init__(config)
        self._notice_s = notice_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        service = self.lifespan.state.get("service")
        if isinstance(service, Draining):
            service.start_draining()
        if isinstance(service, Draining) and sig == signal.SIGTERM and self._notice_s:
            asyncio.get_running_loop().call_later(self._notice_s, super().handle_exit, sig, None)
            return
        super().handle_exit(sig, frame)


def serve(factory: str, settings: ServiceSettings) -> None:
    """Serve until told to stop; the port stays open for `drain_notice_s` after SIGTERM."""
    name = factory.partition(":")[0]
    configure_logging(settings.log_level, service=name)
    configure_tracing(name.removeprefix("services.").removesuffix(".app"))
    config = uvicorn.Config(
        factory,
        factory=True,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
    )
    NoticedServer(config, notice_s=settings.drain_notice_s).run()
