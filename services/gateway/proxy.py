from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from services.gateway.exchange import Exchange
from services.gateway.state import gateway_of
from sightline.api.problems import Problem

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class ProxyRoute(Route):
    """A route of the proxy; says so in the scope, as FastAPI's own routes do, for logs and metrics to name it."""

    def __init__(self, path: str, proxy: "Proxy") -> None:
        super().__init__(path, proxy, methods=METHODS, name="proxy", include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


class Proxy:
    """An ASGI endpoint that sends requests on to the model of its route, or to the one that the path names."""

    def __init__(self, model: str | None = None, *, peeks: bool = False) -> None:
        self._model, self._peeks = model, peeks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = gateway_of(scope)
        model = self._model or scope["path_params"]["model"]
        gateway.fleet.replicas(model)
        exchange = Exchange(gateway, model, scope, receive, send)
        try:
            await exchange.run(peeks=self._peeks)
        except Problem as problem:
            exchange.outcome = str(problem.status.value)
            gateway.metrics.rejected.labels(model, problem.code).inc()
            raise
        finally:
            exchange.record()
