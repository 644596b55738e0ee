"""What is judged before a service is bothered: the time allowed, and the picture by its header."""

from http import HTTPMethod

from starlette.datastructures import Headers
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from services.gateway.auth.middleware import caller_of
from services.gateway.jobs.backend import require_job_backend
from services.gateway.jobs.options import JobOptions, read_job_options
from services.gateway.jobs.submission import JobSubmitter
from services.gateway.requests.body import RequestBody
from services.gateway.requests.context import RequestContext
from services.gateway.requests.header_sniffer import BodySniffer, sniffer_for
from services.gateway.settings import GatewaySettings
from services.gateway.state import Gateway, gateway_of
from services.gateway.upstream.forwarding import RequestForwarder
from sightline.api.problems import Problem
from sightline.api.routes import route_of
from sightline.http.middleware import add_log_fields, route_template
from sightline.http.request_headers import declared_bytes, require_uncompressed
from sightline.imaging.limits import PixelLimits, require_pixels_within
from sightline.jobs.job import JobReason

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


async def admit_pictures(body: RequestBody, headers: Headers, settings: GatewaySettings) -> int:
    """The pixels of the largest picture, as far as the body has been read, 0 where none shows its header in time.

    Reads on until the headers of all pictures are known, or for `peek_bytes`; the service judges what follows. Raises
    Problem TOO_MANY_PIXELS where a picture, or all of them together, have too many.
    """
    sniffer = sniffer_for(headers.get("content-type", ""))
    if sniffer is None:
        return 0
    require_uncompressed(headers)
    while not (sniffer.complete or body.complete or body.size_bytes >= settings.peek_bytes):
        sniffer.feed(await body.read())
        _check(sniffer, body, settings)
    return max((header.pixels for header in sniffer.headers), default=0)


def _check(sniffer: BodySniffer, body: RequestBody, settings: GatewaySettings) -> None:
    if sniffer.header is not None:
        # How many bytes a body may have is watched while it comes in.
        limits = PixelLimits(body.size_bytes, settings.max_pixels, settings.max_side_px)
        limits.check(sniffer.header, body.size_bytes)
    require_pixels_within([header.pixels for header in sniffer.headers], settings.max_request_pixels)


class PredictionDispatcher:
    """A request to a model's own route: admitted by its picture's header, then sent on or taken in as a job."""

    def __init__(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        self._gateway, self._model, self._context = gateway, model, context
        self._can_be_job = context.scope["method"] == HTTPMethod.POST and context.scope["path"] == route_of(model)
        self._backend = gateway.job_backend if self._can_be_job else None

    async def run(self) -> None:
        options = read_job_options(
            self._context.headers, caller_of(self._context.scope), self._gateway.webhooks.sender.guard
        )
        reason = self._reason(options)
        if reason is not None:
            self._context.convert_to_job()
        with self._context.admitted():
            if self._backend is None:
                # Without jobs there is nothing that a request could wait for.
                self._gateway.fleet.choose(self._model, self._context.caller.share)
            await self._context.serve(self._work(options, reason))

    async def _work(self, options: JobOptions, reason: JobReason | None) -> None:
        pixels = await admit_pictures(self._context.body, self._context.headers, self._gateway.settings)
        if reason in (None, JobReason.KEY) and self._is_large(pixels):
            reason = JobReason.PIXELS
        if reason is None:
            await RequestForwarder(self._gateway, self._model, self._context).run()
        else:
            self._context.convert_to_job()
            await JobSubmitter(self._gateway, self._model, self._context, options).run(reason)

    def _reason(self, options: JobOptions) -> JobReason | None:
        """Why it is a job, as far as can be told before any of the body has come."""
        if self._backend is None:
            if self._can_be_job and options.needs_job:
                require_job_backend(self._gateway.job_backend)
            return None
        if options.reason is JobReason.ASKED:
            return JobReason.ASKED
        if declared_bytes(self._context.headers) > self._gateway.settings.max_bytes:
            return JobReason.BYTES
        return options.reason

    def _is_large(self, pixels: int) -> bool:
        return self._backend is not None and pixels > self._gateway.settings.sync_pixels


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
