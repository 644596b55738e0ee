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
    addresses,
    read_model_card,
    read_readiness_report,
)
from sightline.api import headers as names
from sightline.runtime.errors import describe_error

Document = Mapping[str, Any]
log = structlog.get_logger()
_WANTED = {"Accept": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Description:
    """What a model's service says about itself; `openapi` is its OpenAPI document."""

    openapi: Document = field(default_factory=dict)
    card: ModelCardSummary = field(default_factory=ModelCardSummary)


class Catalog:
    """The newest description of each model; it outlives the replica it came from."""

    def __init__(self, fleet: ReplicaFleet) -> None:
        self.revision = 0
        self._fleet = fleet
        self._descriptions: dict[str, Description] = {}

    def add(self, model: str, description: Description) -> None:
        self._descriptions[model] = description
        self.revision += 1

    @property
    def documents(self) -> dict[str, Document]:
        """OpenAPI documents by model, in the configured order."""
        return {model: self._descriptions[model].openapi for model in self._fleet.models if model in self._descriptions}

    def card(self, model: str) -> ModelCardSummary:
        return self._descriptions.get(model, Description()).card

    def report(self, model: str) -> ReadinessReport:
        """The last report of a ready replica, or else of any."""
        replicas = sorted(self._fleet.replicas(model), key=lambda replica: not replica.ready)
        return next((replica.report for replica in replicas if replica.report is not None), ReadinessReport())


class HealthPoller:
    """Asks every replica again and again whether it is ready, and a newly ready one what it offers."""

    def __init__(
        self, fleet: ReplicaFleet, catalog: Catalog, session: ClientSession, settings: GatewaySettings
    ) -> None:
        self._fleet, self._catalog, self._session, self._settings = fleet, catalog, session, settings
        # Also without a credential: a service that wants one then says so here, and not to the first client.
        self._headers = {**_WANTED, names.FLEET_CREDENTIAL: settings.own_credential or ""}
        self._timeout = ClientTimeout(total=settings.poll_timeout_s, sock_connect=settings.connect_timeout_s)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for replica in self._fleet:
                tasks.create_task(self._watch(replica))
            for model, name in self._fleet.names:
                tasks.create_task(self._follow(model, name, tasks))

    async def _follow(self, model: str, name: str, tasks: asyncio.TaskGroup) -> None:
        """Watches over whatever a name stands for; while DNS is away, over those that are well without it."""
        watched: dict[Replica, asyncio.Task[None]] = {}
        while True:
            urls = await addresses(name)
            gone = [replica for replica in watched if not (replica.ready if urls is None else replica.url in urls)]
            for replica in gone:
                watched.pop(replica).cancel()
                self._fleet.remove(replica)
            for url in set(urls or ()) - {replica.url for replica in watched}:
                replica = Replica(model, url)
                self._fleet.add(replica)
                watched[replica] = tasks.create_task(self._watch(replica))
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _watch(self, replica: Replica) -> None:
        while True:
            try:
                await self._probe(replica)
            except Exception as error:
                # One odd reply must not end the polling of the whole fleet.
                log.error("probe_failed", model=replica.model, replica=replica.url, **describe_error(error))
                replica.set_ready(ready=False)
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _probe(self, replica: Replica) -> None:
        try:
            status, body = await self._get(replica, "/readyz")
            if status == HTTPStatus.UNAUTHORIZED:
                log.warning("fleet_credential_refused", model=replica.model, replica=replica.url)
        except TimeoutError:
            # Slow to answer is busy before it is dead: one late probe must not take a working replica out.
            replica.misses += 1
            replica.set_ready(ready=replica.ready and replica.misses < self._settings.poll_misses)
        except (ClientError, OSError):
            replica.set_ready(ready=False)
        else:
            await self._hear(replica, body, ready=status == 200)

    async def _hear(self, replica: Replica, body: Mapping[str, Any], *, ready: bool) -> None:
        report = read_readiness_report(body)
        renewed = replica.report is None or report.identity != replica.report.identity
        replica.misses, replica.report = 0, report
        if ready and (renewed or not replica.ready):
            await self._describe(replica)
        replica.set_ready(ready=ready)

    async def _describe(self, replica: Replica) -> None:
        try:
            _, document = await self._get(replica, "/openapi.json")
            _, card = await self._get(replica, f"/v1/models/{replica.model}/card")
        except (TimeoutError, ClientError, OSError):
            log.warning("replica_not_described", model=replica.model, replica=replica.url)
        else:
            self._catalog.add(replica.model, Description(document, read_model_card(card)))

    async def _get(self, replica: Replica, path: str) -> tuple[int, Mapping[str, Any]]:
        # A redirect would take the credential elsewhere.
        async with self._session.get(
            replica.url + path, headers=self._headers, timeout=self._timeout, allow_redirects=False
        ) as reply:
            try:
                body = await reply.json(content_type=None)
            except ValueError:
                body = None
            return reply.status, body if isinstance(body, dict) else {}
