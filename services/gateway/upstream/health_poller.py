"""Periodic health checks of the replicas, and the catalog of the models that they describe."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from services.gateway.settings import GatewaySettings
from services.gateway.upstream.replicas import (
    ModelCardSummary,
    ReadinessReport,
    Replica,
    ReplicaFleet,
    read_model_card,
    read_readiness_report,
    resolve_replicas,
)
from sightline.api import headers as names
from sightline.runtime.errors import describe_error

Document = Mapping[str, Any]
log = structlog.get_logger()
_PROBE_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A service's OpenAPI document and the summary of its model card."""

    openapi: Document = field(default_factory=dict)
    card: ModelCardSummary = field(default_factory=ModelCardSummary)


class ModelCatalog:
    """The newest description of each model, kept also when its replica is gone."""

    def __init__(self, fleet: ReplicaFleet) -> None:
        self.revision = 0
        self._fleet = fleet
        self._descriptions: dict[str, ModelDescription] = {}

    def add(self, model: str, description: ModelDescription) -> None:
        self._descriptions[model] = description
        self.revision += 1

    @property
    def documents(self) -> dict[str, Document]:
        """The OpenAPI documents by model, in the configured order."""
        return {model: self._descriptions[model].openapi for model in self._fleet.models if model in self._descriptions}

    def card(self, model: str) -> ModelCardSummary:
        return self._descriptions.get(model, ModelDescription()).card

    def report(self, model: str) -> ReadinessReport:
        """Returns the last report of a ready replica, or else of any replica."""
        replicas = sorted(self._fleet.replicas(model), key=lambda replica: not replica.ready)
        return next((replica.report for replica in replicas if replica.report is not None), ReadinessReport())


class HealthPoller:
    """Probes the readiness of every replica periodically, and fetches the description of newly ready ones."""

    def __init__(
        self, fleet: ReplicaFleet, catalog: ModelCatalog, session: ClientSession, settings: GatewaySettings
    ) -> None:
        self._fleet, self._catalog, self._session, self._settings = fleet, catalog, session, settings
        # Sent even without a credential: a service that requires one then fails the probe, not a client's request.
        self._headers = {**_PROBE_HEADERS, names.FLEET_CREDENTIAL: settings.own_credential or ""}
        self._timeout = ClientTimeout(total=settings.poll_timeout_s, sock_connect=settings.connect_timeout_s)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for replica in self._fleet:
                tasks.create_task(self._poll(replica))
            for model, url in self._fleet.dns_urls:
                tasks.create_task(self._poll_dns_name(model, url, tasks))

    async def _poll_dns_name(self, model: str, dns_url: str, tasks: asyncio.TaskGroup) -> None:
        """Polls the replicas behind a DNS name; while DNS cannot be reached, keeps those that are still ready."""
        polls: dict[Replica, asyncio.Task[None]] = {}
        while True:
            urls = await resolve_replicas(dns_url)
            gone = [replica for replica in polls if not (replica.ready if urls is None else replica.url in urls)]
            for replica in gone:
                polls.pop(replica).cancel()
                self._fleet.remove(replica)
            for url in set(urls or ()) - {replica.url for replica in polls}:
                replica = Replica(model, url)
                self._fleet.add(replica)
                polls[replica] = tasks.create_task(self._poll(replica))
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _poll(self, replica: Replica) -> None:
        while True:
            try:
                await self._probe(replica)
            except Exception as error:
                # Without this, one unexpected reply would end the task group, and with it the polling of all replicas.
                log.error("probe_failed", model=replica.model, replica=replica.url, **describe_error(error))
                replica.set_ready(ready=False)
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _probe(self, replica: Replica) -> None:
        try:
            status, body = await self._get(replica, "/readyz")
            if status == HTTPStatus.UNAUTHORIZED:
                log.warning("fleet_credential_refused", model=replica.model, replica=replica.url)
        except TimeoutError:
            # A late reply usually means a busy replica, not a dead one: a single one must not take it out of service.
            replica.misses += 1
            replica.set_ready(ready=replica.ready and replica.misses < self._settings.poll_misses)
        except (ClientError, OSError):
            replica.set_ready(ready=False)
        else:
            await self._accept_report(replica, body, ready=status == 200)

    async def _accept_report(self, replica: Replica, body: Mapping[str, Any], *, ready: bool) -> None:
        report = read_readiness_report(body)
        has_changed = replica.report is None or report.identity != replica.report.identity
        replica.misses, replica.report = 0, report
        if ready and (has_changed or not replica.ready):
            await self._describe(replica)
        replica.set_ready(ready=ready)

    async def _describe(self, replica: Replica) -> None:
        try:
            _, document = await self._get(replica, "/openapi.json")
            _, card = await self._get(replica, f"/v1/models/{replica.model}/card")
        except (TimeoutError, ClientError, OSError):
            log.warning("replica_not_described", model=replica.model, replica=replica.url)
        else:
            self._catalog.add(replica.model, ModelDescription(document, read_model_card(card)))

    async def _get(self, replica: Replica, path: str) -> tuple[int, Mapping[str, Any]]:
        # A redirect could send the fleet credential to another host.
        async with self._session.get(
            replica.url + path, headers=self._headers, timeout=self._timeout, allow_redirects=False
        ) as reply:
            try:
                body = await reply.json(content_type=None)
            except ValueError:
                body = None
            return reply.status, body if isinstance(body, dict) else {}
