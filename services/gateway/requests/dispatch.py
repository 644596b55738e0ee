from http import HTTPMethod

from services.gateway.auth.middleware import caller_of
from services.gateway.jobs.backend import require_desk
from services.gateway.jobs.options import Wish, read_wish
from services.gateway.jobs.submission import Intake
from services.gateway.requests.admission import admit_pictures, declared_bytes
from services.gateway.requests.context import Visit
from services.gateway.state import Gateway
from services.gateway.upstream.forwarding import Exchange
from sightline.api.routes import route_of
from sightline.jobs.job import Reason


class Prediction:
    """A request to a model's own route: admitted by its picture's header, then sent on or taken in as a job."""

    def __init__(self, gateway: Gateway, model: str, visit: Visit) -> None:
        self._gateway, self._model, self._visit = gateway, model, visit
        self._can_be_job = visit.scope["method"] == HTTPMethod.POST and visit.scope["path"] == route_of(model)
        self._desk = gateway.desk if self._can_be_job else None

    async def run(self) -> None:
        wish = read_wish(self._visit.headers, caller_of(self._visit.scope), self._gateway.webhooks.sender.guard)
        reason = self._reason(wish)
        if reason is not None:
            self._visit.become_job()
        with self._visit.admitted():
            if self._desk is None:
                # Without jobs there is nothing that a request could wait for.
                self._gateway.fleet.choose(self._model, self._visit.caller.share)
            await self._visit.serve(self._work(wish, reason))

    async def _work(self, wish: Wish, reason: Reason | None) -> None:
        pixels = await admit_pictures(self._visit.upload, self._visit.headers, self._gateway.settings)
        if reason in (None, Reason.KEY) and self._is_large(pixels):
            reason = Reason.PIXELS
        if reason is None:
            await Exchange(self._gateway, self._model, self._visit).run()
        else:
            self._visit.become_job()
            await Intake(self._gateway, self._model, self._visit, wish).run(reason)

    def _reason(self, wish: Wish) -> Reason | None:
        """Why it is a job, as far as can be told before any of the body has come."""
        if self._desk is None:
            if self._can_be_job and wish.needs_job:
                require_desk(self._gateway.desk)
            return None
        if wish.reason is Reason.ASKED:
            return Reason.ASKED
        if declared_bytes(self._visit.headers) > self._gateway.settings.max_bytes:
            return Reason.BYTES
        return wish.reason

    def _is_large(self, pixels: int) -> bool:
        return self._desk is not None and pixels > self._gateway.settings.sync_pixels
