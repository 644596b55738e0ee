"""Job options in request headers: `Prefer` (RFC 7240), `Idempotency-Key`, webhook, and priority."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from services.gateway.auth.api_keys import Caller
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.jobs.job import Priority, Webhook
from sightline.jobs.webhooks.address_guard import AddressGuard, validate_webhook

_LIMIT_CHARACTERS = 4096
_LIMIT_WAIT_S = 10**6
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEMBER = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PREFERENCE = re.compile(rf"\s*({_WORD})\s*(?:=\s*({_WORD}|{_QUOTED})\s*)?(?:;.*)?")
_QUOTED_KEY = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"(?: *;[\x20-\x7e]*)?')
_BARE_KEY = re.compile(r"[\x21\x23-\x7e]{1,255}")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The supported preferences of a request; others are ignored, as RFC 7240 requires."""

    respond_async: bool = False
    wait_s: int | None = None

    @property
    def requests_job(self) -> bool:
        return self.respond_async or self.wait_s is not None

    def applied(self, *, max_wait_s: float, later: bool) -> str:
        """Returns the value of `Preference-Applied`, with the wait that was granted."""
        applied = ["respond-async"] if self.respond_async and later else []
        if self.wait_s is not None:
            applied.append(f"wait={min(self.wait_s, int(max_wait_s))}")
        return ", ".join(applied)


def read_preferences(values: Sequence[str]) -> Preferences:
    """Parses all `Prefer` headers of a request; of a repeated preference the first counts."""
    found: dict[str, str] = {}
    for name, value in _preferences(values):
        found.setdefault(name, value)
    return Preferences("respond-async" in found, _seconds(found.get("wait", "")))


def _preferences(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for member in _MEMBER.findall(",".join(values)[:_LIMIT_CHARACTERS]):
        if match := _PREFERENCE.fullmatch(member):
            yield match[1].lower(), (match[2] or "").strip('"')


def _seconds(text: str) -> int | None:
    return min(int(text.lstrip("0")[:9] or "0"), _LIMIT_WAIT_S) if text.isascii() and text.isdecimal() else None


def read_idempotency_key(headers: Headers) -> str | None:
    """Returns the key from a quoted string, as in the draft standard, or from the bare text that many clients send.

    Raises Problem INVALID_REQUEST.
    """
    sent = headers.getlist(names.IDEMPOTENCY_KEY)
    if not sent:
        return None
    if len(sent) > 1:
        raise Problem(Code.INVALID_REQUEST, f"Send the header {names.IDEMPOTENCY_KEY} only once.")
    text = sent[0].strip()
    if quoted := _QUOTED_KEY.fullmatch(text):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _BARE_KEY.fullmatch(text):
        return text
    detail = f"{names.IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters, and in quotes if it has spaces."
    raise Problem(Code.INVALID_REQUEST, detail)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of the job that a request may become."""

    owner: str
    caller: str
    preferences: Preferences
    priority: Priority
    idempotency_key: str | None
    webhook: Webhook | None

    @property
    def requests_job(self) -> bool:
        return self.preferences.requests_job or self.webhook is not None

    @property
    def needs_job(self) -> bool:
        """True for options that cannot be honoured without a job; a wait alone may be ignored, as any preference."""
        return bool(self.preferences.respond_async or self.webhook or self.idempotency_key)


def read_job_options(headers: Headers, caller: Caller, guard: AddressGuard) -> JobOptions:
    """Parses the job options in the headers; raises Problem INVALID_REQUEST or FORBIDDEN."""
    return JobOptions(
        owner=caller.owner,
        caller=caller.fairness_key,
        preferences=read_preferences(headers.getlist(names.PREFER)),
        priority=caller.priority(headers),
        idempotency_key=read_idempotency_key(headers),
        webhook=_webhook(headers, guard),
    )


def _webhook(headers: Headers, guard: AddressGuard) -> Webhook | None:
    url, secret = headers.get(names.WEBHOOK), headers.get(names.WEBHOOK_SECRET)
    if url is None and secret is None:
        return None
    if not url or not secret:
        detail = f"A webhook needs both headers: {names.WEBHOOK} and {names.WEBHOOK_SECRET}."
        raise Problem(Code.INVALID_REQUEST, detail)
    return validate_webhook(url, secret, guard)
