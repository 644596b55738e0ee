from dataclasses import dataclass

from starlette.datastructures import Headers

from services.gateway.auth.api_keys import Caller
from services.gateway.jobs.idempotency import read_idempotency_key
from services.gateway.jobs.prefer import Preferences, read_preferences
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.jobs.job import Priority, Reason, Webhook
from sightline.jobs.webhooks import checked_webhook
from sightline.jobs.webhooks.guard import Guard


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a request's headers say about a job that it may become."""

    owner: str
    caller: str
    preferences: Preferences
    priority: Priority
    idempotency_key: str | None
    webhook: Webhook | None

    @property
    def reason(self) -> Reason | None:
        """Why it is a job, whatever its picture is like."""
        if self.preferences.asks_for_job or self.webhook:
            return Reason.ASKED
        return Reason.KEY if self.idempotency_key else None

    @property
    def needs_job(self) -> bool:
        """Whether it cannot be honoured without one; a wait alone may be ignored, as every preference."""
        return bool(self.preferences.respond_async or self.webhook or self.idempotency_key)


def read_job_options(headers: Headers, caller: Caller, guard: Guard) -> JobOptions:
    """Raises Problem INVALID_REQUEST or FORBIDDEN."""
    return JobOptions(
        owner=caller.owner,
        caller=caller.share,
        preferences=read_preferences(headers.getlist(names.PREFER)),
        priority=caller.priority(headers),
        idempotency_key=read_idempotency_key(headers),
        webhook=_webhook(headers, guard),
    )


def _webhook(headers: Headers, guard: Guard) -> Webhook | None:
    url, secret = headers.get(names.WEBHOOK), headers.get(names.WEBHOOK_SECRET)
    if url is None and secret is None:
        return None
    if not url or not secret:
        detail = f"A webhook needs both {names.WEBHOOK} and {names.WEBHOOK_SECRET}."
        raise Problem(Code.INVALID_REQUEST, detail)
    return checked_webhook(url, secret, guard)
