from http import HTTPMethod

from services.gateway.auth.middleware import caller_of
from services.gateway.jobs.backend import require_job_backend
from services.gateway.jobs.options import JobOptions, read_job_options
from services.gateway.jobs.submission import JobSubmitter
from services.gateway.requests.admission import admit_pictures, declared_bytes
from services.gateway.requests.context import RequestContext
from services.gateway.state import Gateway
from services.gateway.upstream.forwarding import RequestForwarder
from sightline.api.routes import route_of
from sightline.jobs.job import Reason


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

    async def _work(self, options: JobOptions, reason: Reason | None) -> None:
        pixels = await admit_pictures(self._context.body, self._context.headers, self._gateway.settings)
        if reason in (None, Reason.KEY) and self._is_large(pixels):
            reason = Reason.PIXELS
        if reason is None:
            await RequestForwarder(self._gateway, self._model, self._context).run()
        else:
            self._context.convert_to_job()
            await JobSubmitter(self._gateway, self._model, self._context, options).run(reason)

    def _reason(self, options: JobOptions) -> Reason | None:
        """Why it is a job, as far as can be told before any of the body has come."""
        if self._backend is None:
            if self._can_be_job and options.needs_job:
                require_job_backend(self._gateway.job_backend)
            return None
        if options.reason is Reason.ASKED:
            return Reason.ASKED
        if declared_bytes(self._context.headers) > self._gateway.settings.max_bytes:
            return Reason.BYTES
        return options.reason

    def _is_large(self, pixels: int) -> bool:
        return self._backend is not None and pixels > self._gateway.settings.sync_pixels
