"""The replicas of the models: their discovery by DNS, their state, and the choice of one for a request."""

import asyncio
import hashlib
import hmac
import secrets
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError
from yarl import URL

from sightline.api.evidence import DetectorIdentity, ModelIdentity
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import MAX_SHARE_OF_FREE

log = structlog.get_logger()

DNS_PREFIX = "dns+"  # as in `dns+http://inpaint:8000`
LATENCY_WEIGHT = 0.2  # of the newest reply in the moving average
RETRY_AFTER_S = 2.0


async def resolve_replicas(url: str) -> Sequence[str] | None:
    """Returns the base URL of each address of a `dns+` URL; None while DNS cannot be reached.

    One name has an address for each container in `docker compose up --scale` and in a headless Service.
    """
    base = URL(url.removeprefix(DNS_PREFIX))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(base.host, base.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return None if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL) else ()
    except (OSError, UnicodeError):
        return None
    return sorted({str(base.with_host(str(address[0]))).rstrip("/") for *_, address in found})


class ReadinessReport(BaseModel):
    """The fields of a service's `/readyz` that the gateway uses."""

    version: str | None = None
    weights_sha256: str | None = None
    contract: str | None = None
    detector: DetectorIdentity | None = None
    stronger_weights: str | None = None
    provider: str | None = None
    precision: str | None = None
    estimated_queue_ms: float | None = None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Changes when a replica restarts with another version, other weights or another contract."""
        return self.version, self.weights_sha256, self.contract, str(self.detector)

    def identity_of(self, model: str) -> ModelIdentity | None:
        """Returns the identity in the service's results; None where the report is incomplete."""
        if self.version is None or self.weights_sha256 is None or self.contract is None:
            return None
        return ModelIdentity(
            name=model,
            version=self.version,
            weights_sha256=self.weights_sha256,
            contract=self.contract,
            detector=self.detector,
        )


class ModelCardSummary(BaseModel):
    """The fields of a service's model card that the gateway uses."""

    title: str | None = None
    description: str | None = None
    media_types: list[str] = []


def read_readiness_report(body: Mapping[str, Any]) -> ReadinessReport:
    """Parses the reply of `/readyz`; an unknown format gives an empty report, as the report is only displayed."""
    try:
        return ReadinessReport.model_validate(body)
    except ValidationError:
        return ReadinessReport()


def read_model_card(body: Mapping[str, Any]) -> ModelCardSummary:
    try:
        return ModelCardSummary.model_validate(body)
    except ValidationError:
        return ModelCardSummary()


@dataclass(slots=True, eq=False)
class Replica:
    """One address of a model's service, its last readiness report and its load.

    `label` replaces the address where it is public, as in metrics. `misses` counts late probes in a row.
    """

    model: str
    url: str
    label: str = ""
    ready: bool = False
    in_flight: int = 0
    latency_s: float = 0.0
    misses: int = 0
    report: ReadinessReport | None = None
    in_flight_of: Counter[str] = field(default_factory=Counter)  # by caller

    def set_ready(self, *, ready: bool) -> None:
        if ready != self.ready:
            log.info("replica_ready" if ready else "replica_lost", model=self.model, replica=self.url, label=self.label)
        self.ready = ready

    @contextmanager
    def busy(self, caller: str = "") -> Iterator[None]:
        self._count(caller, 1)
        try:
            yield
        finally:
            self._count(caller, -1)

    def _count(self, caller: str, requests: int) -> None:
        self.in_flight += requests
        self.in_flight_of[caller] += requests
        if not self.in_flight_of[caller]:
            del self.in_flight_of[caller]

    def observe(self, latency_s: float) -> None:
        self.latency_s += LATENCY_WEIGHT * (latency_s - self.latency_s) if self.latency_s else latency_s


class ReplicaFleet:
    """The replicas of all configured models; those behind a DNS name are added and removed while the gateway runs."""

    def __init__(
        self,
        upstreams: Mapping[str, Sequence[str]],
        *,
        max_requests_per_replica: int,
        resting: Collection[str] = (),
        label_key: str | None = None,
    ) -> None:
        """Gateways with the same `label_key` give a replica the same label."""
        self.resting = resting
        self._label_key = (label_key or secrets.token_hex()).encode()
        self._replicas = {
            model: [Replica(model, url) for url in urls if not url.startswith(DNS_PREFIX)]
            for model, urls in upstreams.items()
        }
        for replica in self:
            replica.label = self._label(replica)
        self.dns_urls = [
            (model, url) for model, urls in upstreams.items() for url in urls if url.startswith(DNS_PREFIX)
        ]
        self._max_requests = max_requests_per_replica

    def __iter__(self) -> Iterator[Replica]:
        return (replica for replicas in self._replicas.values() for replica in replicas)

    def add(self, replica: Replica) -> None:
        replica.label = self._label(replica)
        self._replicas[replica.model].append(replica)

    def remove(self, replica: Replica) -> None:
        """Takes the replica out of the choice; its requests in flight continue."""
        replica.set_ready(ready=False)
        self._replicas[replica.model].remove(replica)

    def _label(self, replica: Replica) -> str:
        # With a key, because a plain digest of an address and a port is found by trying all of them.
        digest = hmac.new(self._label_key, replica.url.encode(), hashlib.sha256).hexdigest()
        return f"{replica.model}-{digest[:8]}"

    @property
    def models(self) -> list[str]:
        return list(self._replicas)

    @property
    def ready(self) -> bool:
        """True while every model that may not rest has a ready replica; always False without models."""
        return bool(self._replicas) and all(
            self.ready_replicas(model) for model in self._replicas if model not in self.resting
        )

    def replicas(self, model: str) -> Sequence[Replica]:
        """Returns the model's replicas; raises Problem NOT_FOUND, with the configured models."""
        if model not in self._replicas:
            raise Problem(Code.NOT_FOUND, "There is no model with this name.", models=self.models)
        return self._replicas[model]

    def ready_replicas(self, model: str, *, excluding: Collection[Replica] = ()) -> list[Replica]:
        return [replica for replica in self.replicas(model) if replica.ready and replica not in excluding]

    def choose(self, model: str, caller: str = "", *, excluding: Collection[Replica] = ()) -> Replica:
        """Returns the ready replica with the fewest requests in flight, and the lowest latency among equals.

        Raises Problem NOT_READY, OVERLOADED, or TOO_MANY_REQUESTS where the caller has its share of the replica.
        """
        ready = self.ready_replicas(model, excluding=excluding)
        if not ready:
            detail = f"No replica of {model} is ready; try again shortly."
            raise Problem(Code.NOT_READY, detail, retry_after_s=RETRY_AFTER_S, model=model)
        replica = min(ready, key=lambda replica: (replica.in_flight, replica.latency_s))
        self._require_capacity(replica, caller)
        return replica

    def _require_capacity(self, replica: Replica, caller: str) -> None:
        model, free = replica.model, self._max_requests - replica.in_flight
        if free <= 0:
            detail = f"Every replica of {model} is at its limit of requests in flight; try again shortly."
            raise Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, model=model)
        if replica.in_flight_of[caller] >= MAX_SHARE_OF_FREE * free:
            detail = f"You have as many requests to {model} in flight as one caller may have; wait for some to end."
            raise Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, model=model)
