import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from services.gateway import capacity, health, models, v2
from services.gateway.catalog import Catalog
from services.gateway.docs import add_docs
from services.gateway.gate import Gate
from services.gateway.metrics import GatewayMetrics
from services.gateway.openapi import add_openapi
from services.gateway.poller import Poller
from services.gateway.proxy import Proxy, ProxyRoute
from services.gateway.replicas import Fleet
from services.gateway.settings import GatewaySettings
from services.gateway.state import Gateway, State
from sightline import __version__
from sightline.api.problems import Code, Problem
from sightline.api.routes import route_of
from sightline.serving.errors import install_problem_handlers
from sightline.serving.logs import configure_logging
from sightline.serving.metrics import HttpMetrics, add_metrics_route, create_registry
from sightline.serving.middleware import install_middleware


def create() -> FastAPI:
    """For `uvicorn --factory`: settings come from the environment."""
    settings = GatewaySettings()
    configure_logging(settings.log_level, service="gateway")
    return create_app(settings)


def create_app(settings: GatewaySettings) -> FastAPI:
    registry = create_registry()
    fleet = Fleet(settings.upstreams, max_requests_per_replica=settings.max_requests_per_replica)
    catalog = Catalog(fleet)
    app = FastAPI(
        title="Sightline",
        version=__version__,
        description="Vision models for people who investigate with pictures.",
        lifespan=_lifespan(settings, fleet, catalog, GatewayMetrics(registry, fleet)),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    install_problem_handlers(app)
    install_middleware(app, HttpMetrics(registry), max_bytes=settings.max_bytes)
    # The busiest routes come first, as they are tried in order.
    _add_model_routes(app, settings)
    _add_own_routes(app, registry, settings)
    add_openapi(app, catalog)
    app.router.default = NothingHere(settings)
    return app


def _add_own_routes(app: FastAPI, registry: CollectorRegistry, settings: GatewaySettings) -> None:
    for router in (health.router, models.router, capacity.router, v2.router):
        app.include_router(router)
    add_metrics_route(app, registry)
    add_docs(app, assets_url=settings.docs_assets_url)


def _add_model_routes(app: FastAPI, settings: GatewaySettings) -> None:
    by_name = Proxy()
    for model in settings.upstreams:
        proxy, route = Proxy(model, peeks=True), route_of(model)
        app.router.routes += [ProxyRoute(route, proxy), ProxyRoute(f"{route}/{{rest:path}}", proxy)]
    for path in ("/v1/models/{model}/{rest:path}", "/v2/models/{model}", "/v2/models/{model}/{rest:path}"):
        app.router.routes.append(ProxyRoute(path, by_name))


def _lifespan(
    settings: GatewaySettings, fleet: Fleet, catalog: Catalog, metrics: GatewayMetrics
) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        gate = Gate(max_requests=settings.max_requests, max_bytes=settings.max_inflight_bytes)
        async with _session(settings) as session, _polling(Poller(fleet, catalog, session, settings)):
            yield {"gateway": Gateway(settings, fleet, catalog, gate, metrics, session)}

    return lifespan


def _session(settings: GatewaySettings) -> ClientSession:
    return ClientSession(
        # The fleet bounds what goes to each replica; a second bound here would make probes wait behind work.
        connector=TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=settings.upstream_keep_alive_s),
        timeout=ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
    )


@asynccontextmanager
async def _polling(poller: Poller) -> AsyncIterator[None]:
    task = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class NothingHere:
    """Answers what no route does."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._routes = [route_of(model) for model in settings.upstreams]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.", routes=self._routes)
