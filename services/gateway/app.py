from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from services.gateway import evidence, fleet_status, v2
from services.gateway.auth.api_keys import AuthenticationMiddleware, KeyRing, RunningLimit
from services.gateway.auth.browser_security import (
    HostCheckMiddleware,
    NamedOriginsMiddleware,
    OriginCheckMiddleware,
    ResponseHeadersMiddleware,
    cors_options,
)
from services.gateway.documentation.openapi import add_openapi
from services.gateway.jobs import routes, webhooks
from services.gateway.jobs.backend import JobBackend, open_job_backend
from services.gateway.jobs.schemas import job_json
from services.gateway.metrics import GatewayMetrics
from services.gateway.pages import add_console, add_docs
from services.gateway.requests.context import OwnBodyMiddleware
from services.gateway.requests.dispatch import Proxy, ProxyRoute
from services.gateway.requests.forwarded_headers import ForwardedHeadersMiddleware, public_prefix
from services.gateway.settings import GatewaySettings
from services.gateway.state import Gateway, LifespanState
from services.gateway.upstream.health_poller import HealthPoller, ModelCatalog
from services.gateway.upstream.replicas import ReplicaFleet
from sightline import __version__
from sightline.api.declaration import route_of
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter
from sightline.http.logs import configure_logging
from sightline.http.metrics import HttpMetrics, add_metrics_route, create_registry
from sightline.http.middleware import TELEMETRY, install_middleware
from sightline.http.problem_responses import install_problem_handlers
from sightline.jobs.connection import connect
from sightline.jobs.evidence_store import EvidenceStore
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.settings import WebhookSettings
from sightline.runtime.tasks import TaskSupervisor

ANY_ADDRESS = frozenset(("0.0.0.0", "::", ""))  # noqa: S104 - compared, not bound


def create() -> FastAPI:
    """Creates the application with settings from the environment; `uvicorn --factory` calls it."""
    settings = GatewaySettings()
    configure_logging(settings.log_level, service="gateway")
    return create_app(settings, jobs=JobSettings(), webhooks=WebhookSettings())


def create_app(
    settings: GatewaySettings, *, jobs: JobSettings | None = None, webhooks: WebhookSettings | None = None
) -> FastAPI:
    """Creates the application; without a Redis in `jobs`, every request is processed synchronously."""
    components = _create_components(settings, jobs or JobSettings(redis_url=None), webhooks or WebhookSettings())
    app = FastAPI(
        title="Sightline",
        version=__version__,
        description="Vision models for people who investigate with pictures.",
        lifespan=_lifespan(components),
        telemetry=TELEMETRY,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Redirects would repeat the client's `Host`.
        redirect_slashes=False,
    )
    install_problem_handlers(app)
    _add_middleware(app, components)
    # The busiest routes come first, as they are tried in order.
    _add_model_routes(app, settings)
    _add_own_routes(app, components)
    app.router.default = NotFound(settings)
    return app


@dataclass(frozen=True, slots=True)
class GatewayComponents:
    """The components that exist before the gateway starts."""

    settings: GatewaySettings
    jobs: JobSettings
    webhooks: WebhookSettings
    fleet: ReplicaFleet
    catalog: ModelCatalog
    keys: KeyRing
    registry: CollectorRegistry
    metrics: GatewayMetrics


def _create_components(settings: GatewaySettings, jobs: JobSettings, webhooks: WebhookSettings) -> GatewayComponents:
    registry = create_registry()
    fleet = ReplicaFleet(
        settings.upstreams,
        max_requests_per_replica=settings.max_requests_per_replica,
        resting=settings.resting_models,
        label_key=settings.own_credential,
    )
    keys, metrics = KeyRing(settings.all_keys), GatewayMetrics(registry, fleet)
    return GatewayComponents(settings, jobs, webhooks, fleet, ModelCatalog(fleet), keys, registry, metrics)


def _add_middleware(app: FastAPI, components: GatewayComponents) -> None:
    settings = components.settings
    model_routes = [route_of(model) for model in settings.upstreams]
    # The last added runs first.
    app.add_middleware(OwnBodyMiddleware, model_routes=model_routes, max_bytes=settings.max_bytes)
    app.add_middleware(AuthenticationMiddleware, keys=components.keys)
    # `RequestBody` limits the bodies: which limit holds depends on whether the request becomes a job.
    install_middleware(app, HttpMetrics(components.registry), max_bytes=None, guards=_guards(settings))


def _guards(settings: GatewaySettings) -> list[Middleware]:
    """Returns the checks of requests, in the order in which they apply."""
    hosts = {*settings.allowed_hosts, settings.host} - ANY_ADDRESS
    guards = [
        Middleware(ResponseHeadersMiddleware),
        Middleware(ForwardedHeadersMiddleware, trusted=settings.trusted_proxies, root_path=settings.root_path),
        Middleware(HostCheckMiddleware, allowed=hosts),
        Middleware(OriginCheckMiddleware, allowed=settings.cors_origins),
    ]
    if settings.cors_origins:
        # Before authentication, as a preflight carries no key, and before the origin check, so that pages can read
        # its refusal.
        guards.insert(3, Middleware(NamedOriginsMiddleware, **cors_options(settings.cors_origins)))
    return guards


def _add_own_routes(app: FastAPI, components: GatewayComponents) -> None:
    for module in (fleet_status, routes, webhooks, evidence, v2):
        app.include_router(module.router)
    add_metrics_route(app, components.registry)
    add_docs(app, assets_url=components.settings.docs_assets_url)
    add_console(app)
    add_openapi(app, components.catalog, needs_key=bool(components.keys.callers))


def _add_model_routes(app: FastAPI, settings: GatewaySettings) -> None:
    by_name = Proxy()
    for model in settings.upstreams:
        proxy, route = Proxy(model, predicts=True), route_of(model)
        app.router.routes += [ProxyRoute(route, proxy), ProxyRoute(f"{route}/{{rest:path}}", proxy)]
    for path in ("/v1/models/{model}/{rest:path}", "/v2/models/{model}", "/v2/models/{model}/{rest:path}"):
        app.router.routes.append(ProxyRoute(path, by_name))


def _lifespan(components: GatewayComponents) -> Callable[[FastAPI], AbstractAsyncContextManager[LifespanState]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        settings, fleet, catalog = components.settings, components.fleet, components.catalog
        tasks = TaskSupervisor()
        limiter = ConcurrencyLimiter(
            max_requests=settings.max_requests,
            max_bytes=settings.max_inflight_bytes,
            bytes_limit_name="max_inflight_bytes",
        )
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(_session(settings))
            poller = HealthPoller(fleet, catalog, session, settings)
            await stack.enter_async_context(tasks.running("health poller", poller.run()))
            hooks, backend, records = await stack.enter_async_context(_open_jobs(components, tasks))
            running_limit = RunningLimit(
                backend.queue if backend else None, default=components.jobs.max_running_per_owner
            )
            gateway = Gateway(
                settings,
                fleet,
                catalog,
                limiter,
                running_limit,
                components.metrics,
                session,
                hooks,
                backend,
                records,
                tasks,
            )
            yield {"gateway": gateway, "service": gateway, "webhooks": hooks, "registry": components.registry}

    return lifespan


@asynccontextmanager
async def _open_jobs(
    components: GatewayComponents, tasks: TaskSupervisor
) -> AsyncIterator[tuple[webhooks.Webhooks, JobBackend | None, EvidenceStore | None]]:
    """Opens webhooks and the job backend; without Redis only webhooks, for test events."""
    jobs, settings, registry = components.jobs, components.webhooks, components.registry
    # A delivery belongs to no request, so only a configured prefix is known.
    render = partial(job_json, prefix=components.settings.root_path)
    open_webhooks = partial(
        webhooks.open_webhooks, settings, job_settings=jobs, render=render, registry=registry, tasks=tasks
    )
    if jobs.redis_url is None:
        async with open_webhooks(redis=None) as opened:
            yield opened, None, None
        return
    async with (
        connect(jobs.redis_url) as redis,
        open_job_backend(
            redis, components.settings, jobs, keys=components.keys, registry=registry, tasks=tasks
        ) as backend,
        open_webhooks(redis=redis) as opened,
    ):
        yield opened, backend, _evidence_store(redis, components)


def _evidence_store(redis: Redis, components: GatewayComponents) -> EvidenceStore | None:
    ttl_s = components.settings.evidence_ttl_s
    return EvidenceStore(redis, prefix=components.jobs.redis_prefix, ttl_s=ttl_s) if ttl_s else None


def _session(settings: GatewaySettings) -> ClientSession:
    return ClientSession(
        # `ReplicaFleet` limits the requests to each replica; a limit here would make probes wait behind work.
        connector=TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=settings.upstream_keep_alive_s),
        timeout=ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
    )


class NotFound:
    """Returns 404 problem details for unknown paths, with the models' routes."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._routes = [route_of(model) for model in settings.upstreams]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        routes = [public_prefix(scope) + route for route in self._routes]
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.", routes=routes)
