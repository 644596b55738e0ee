from http import HTTPMethod

from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from services.gateway.auth.middleware import caller_of
from services.gateway.requests.context import RequestContext
from services.gateway.requests.dispatch import PredictionDispatcher
from services.gateway.state import Gateway, gateway_of
from services.gateway.upstream.forwarding import RequestForwarder
from sightline.api.problems import Problem
from sightline.http.middleware import add_log_fields, route_template

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

    def __init__(self, model: str | None = None, *, predicts: bool = False) -> None:
        self._model, self._predicts = model, predicts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = gateway_of(scope)
        model = self._model or scope["path_params"]["model"]
        gateway.fleet.replicas(model)
        caller_of(scope).require_model(model)
        context = RequestContext(gateway.settings, gateway.limiter, scope, receive, send)
        try:
            await self._answer(gateway, model, context)
        except Problem as problem:
            context.outcome = str(problem.status.value)
            gateway.metrics.rejected.labels(model, problem.code).inc()
            raise
        finally:
            _record(gateway, model, context)

    async def _answer(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        if self._predicts and context.scope["method"] == HTTPMethod.POST:
            await PredictionDispatcher(gateway, model, context).run()
            return
        with context.admitted():
            gateway.fleet.choose(model, context.caller.share)
            await context.serve(RequestForwarder(gateway, model, context).run())


def _record(gateway: Gateway, model: str, context: RequestContext) -> None:
    metrics, body = gateway.metrics, context.body
    metrics.requests.labels(model, route_template(context.scope), context.outcome).inc()
    metrics.received_bytes.labels(model).inc(body.size_bytes)
    metrics.sent_bytes.labels(model).inc(context.sent_bytes)
    add_log_fields(context.scope, model=model, body_bytes=body.size_bytes, body_sha256=body.sha256)
