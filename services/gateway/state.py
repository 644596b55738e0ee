from dataclasses import dataclass
from typing import TypedDict

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from services.gateway.auth.running_limit import RunningLimit
from services.gateway.jobs.backend import JobBackend
from services.gateway.jobs.webhooks import Webhooks
from services.gateway.metrics import GatewayMetrics
from services.gateway.settings import GatewaySettings
from services.gateway.upstream.catalog import Catalog
from services.gateway.upstream.replicas import ReplicaFleet
from sightline.http.concurrency import ConcurrencyLimiter


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the requests share."""

    settings: GatewaySettings
    fleet: ReplicaFleet
    catalog: Catalog
    limiter: ConcurrencyLimiter
    running_limit: RunningLimit
    metrics: GatewayMetrics
    session: ClientSession
    webhooks: Webhooks
    job_backend: JobBackend | None  # None where no Redis is configured

    def start_draining(self) -> None:
        """Clients that wait for jobs would hold up the end of this process: their jobs go on without it."""
        if self.job_backend is not None:
            self.job_backend.queue.let_go()


class State(TypedDict):
    """What the lifespan yields."""

    gateway: Gateway
    service: Gateway  # what the server tells that it is to stop
    webhooks: Webhooks  # for the routes that need nothing else
    registry: CollectorRegistry  # where the server shows its own metrics


def gateway_of(scope: Scope) -> Gateway:
    gateway: Gateway = scope["state"]["gateway"]
    return gateway
