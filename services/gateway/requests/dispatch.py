"""The proxied routes: each request is forwarded to a replica, or is submitted as a job."""

from dataclasses import dataclass
from http import HTTPMethod

from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from services.gateway.jobs.backend import require_job_backend
from services.gateway.jobs.options import JobOptions, read_job_options
from services.gateway.jobs.submission import JobSubmitter
from services.gateway.requests.context import RequestContext
from services.gateway.requests.header_sniffer import admit_pictures
from services.gateway.state import Gateway, gateway_of
from services.gateway.upstream.forwarding import RequestForwarder
from sightline.api.declaration import model_name, route_of
from sightline.api.problems import Problem
from sightline.http.middleware import add_log_fields, route_template
from sightline.http.request_headers import declared_bytes
from sightline.jobs.job import JobReason

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
JOB_HINT = " Send `Content-Length` or `Prefer: respond-async` to have it processed as a job."


@dataclass(frozen=True, slots=True)
class JobDecision:
    """The rules by which a request becomes a job: each method returns the reason, or None for a synchronous reply.

    `takes_jobs` is False where the route has no jobs, or the gateway no Redis.
    """

    options: JobOptions
    takes_jobs: bool
    max_bytes: int
    sync_pixels: int

    def from_headers(self, size_bytes: int) -> JobReason | None:
        """Decides by the headers, before the body arrives; `size_bytes` is its declared size."""
        if not self.takes_jobs:
            return None
        if self.options.requests_job:
            return JobReason.ASKED
        if size_bytes > self.max_bytes:
            return JobReason.BYTES
        return JobReason.KEY if self.options.idempotency_key else None

    def from_pixels(self, reason: JobReason | None, pixels: int) -> JobReason | None:
        """Decides again once the picture headers have arrived; `pixels` is the size of the largest picture.

        The size takes precedence over an idempotency key: a client with a key would wait for the result, but a large
        picture takes too long for that.
        """
        if self.takes_jobs and reason in (None, JobReason.KEY) and pixels > self.sync_pixels:
            return JobReason.PIXELS
        return reason


class PredictionDispatcher:
    """Processes one POST to a model: checks the picture headers, then forwards the request or submits it as a job."""

    def __init__(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        self._gateway, self._model, self._context = gateway, model, context
        options = read_job_options(context.headers, context.caller, gateway.webhooks.sender.guard)
        has_jobs = context.scope["path"] == route_of(model)
        if has_jobs and options.needs_job:
            require_job_backend(gateway.job_backend)
        takes_jobs, settings = has_jobs and gateway.job_backend is not None, gateway.settings
        self._decision = JobDecision(options, takes_jobs, settings.max_bytes, settings.sync_pixels)

    async def run(self) -> None:
        reason = self._decision.from_headers(declared_bytes(self._context.headers))
        if reason is not None:
            self._context.convert_to_job()
        elif self._decision.takes_jobs:
            self._context.body.limit_hint = JOB_HINT
        with self._context.admitted():
            if not self._decision.takes_jobs:
                # Only a job can wait for a replica. Raising here saves the client from an upload that would be refused.
                self._gateway.fleet.choose(self._model, self._context.caller.fairness_key)
            await self._context.serve(self._process(reason))

    async def _process(self, reason: JobReason | None) -> None:
        pixels = await admit_pictures(self._context.body, self._context.headers, self._gateway.settings)
        reason = self._decision.from_pixels(reason, pixels)
        if reason is None:
            await RequestForwarder(self._gateway, self._model, self._context).run()
        else:
            self._context.convert_to_job()
            await JobSubmitter(self._gateway, self._model, self._context, self._decision.options).run(reason)


class ProxyRoute(Route):
    """A Starlette route to a service. Adds itself to the scope, as FastAPI's routes do, for logs and metrics."""

    def __init__(self, path: str, proxy: "Proxy") -> None:
        super().__init__(path, proxy, methods=METHODS, name="proxy", include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


class Proxy:
    """An ASGI endpoint that forwards requests to the service of `model`, by default of the model in the path.

    `predicts`: a POST runs the model, so that it may become a job.
    """

    def __init__(self, model: str | None = None, *, predicts: bool = False) -> None:
        self._model, self._predicts = model, predicts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = gateway_of(scope)
        model = self._model or model_name(scope["path_params"]["model"])
        gateway.fleet.replicas(model)  # raises NOT_FOUND for an unknown model
        context = RequestContext(gateway.settings, gateway.limiter, scope, receive, send)
        context.caller.require_model(model)
        try:
            await self._process(gateway, model, context)
        except Problem as problem:
            context.outcome = str(problem.status.value)
            gateway.metrics.rejected.labels(model, problem.code).inc()
            raise
        finally:
            _record(gateway, model, context)

    async def _process(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        if self._predicts and context.scope["method"] == HTTPMethod.POST:
            await PredictionDispatcher(gateway, model, context).run()
            return
        with context.admitted():
            gateway.fleet.choose(model, context.caller.fairness_key)
            await context.serve(RequestForwarder(gateway, model, context).run())


def _record(gateway: Gateway, model: str, context: RequestContext) -> None:
    metrics, body = gateway.metrics, context.body
    metrics.requests.labels(model, route_template(context.scope), context.outcome).inc()
    metrics.received_bytes.labels(model).inc(body.size_bytes)
    metrics.sent_bytes.labels(model).inc(context.sent_bytes)
    add_log_fields(context.scope, model=model, body_bytes=body.size_bytes, body_sha256=body.sha256)
