from dataclasses import dataclass
from typing import Annotated, TypedDict

from aiohttp import ClientSession
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from services.gateway.auth.api_keys import Caller, RunningLimit, caller_of
from services.gateway.jobs.backend import JobBackend, require_job_backend
from services.gateway.jobs.webhooks import Webhooks
from services.gateway.metrics import GatewayMetrics
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.settings import GatewaySettings
from services.gateway.upstream.health_poller import ModelCatalog
from services.gateway.upstream.replicas import ReplicaFleet
from sightline.http.concurrency import ConcurrencyLimiter
from sightline.jobs.evidence_store import EvidenceStore
from sightline.runtime.tasks import TaskSupervisor


@dataclass(frozen=True, slots=True)
class Gateway:
    """The components that requests share; `job_backend` is None where no Redis is configured."""

    settings: GatewaySettings
    fleet: ReplicaFleet
    catalog: ModelCatalog
    limiter: ConcurrencyLimiter
    running_limit: RunningLimit
    metrics: GatewayMetrics
    session: ClientSession
    webhooks: Webhooks
    job_backend: JobBackend | None
    evidence: EvidenceStore | None
    tasks: TaskSupervisor

    @property
    def ready(self) -> bool:
        """True while every model that may not rest has a ready replica, and all background tasks run."""
        return self.fleet.ready and self.tasks.failure is None

    def start_draining(self) -> None:
        """Ends the waits of clients for jobs, which would hold up the end of this process; the jobs go on."""
        self.tasks.stopping = True
        if self.job_backend is not None:
            self.job_backend.queue.end_streams()


class LifespanState(TypedDict):
    """The state that the lifespan yields."""

    gateway: Gateway
    service: Gateway  # `start_draining` is called on it when the server begins to stop
    webhooks: Webhooks  # for routes that need nothing else
    registry: CollectorRegistry  # the server registers its own metrics here


def gateway_of(scope: Scope) -> Gateway:
    gateway: Gateway = scope["state"]["gateway"]
    return gateway


def _gateway(request: Request) -> Gateway:
    return gateway_of(request.scope)


def _job_backend(request: Request) -> JobBackend:
    return require_job_backend(gateway_of(request.scope).job_backend)


def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


def _prefix(request: Request) -> str:
    return public_prefix(request.scope)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
JobBackendDep = Annotated[JobBackend, Depends(_job_backend)]
CallerDep = Annotated[Caller, Depends(_caller)]
PrefixDep = Annotated[str, Depends(_prefix)]
