"""API keys: authentication, the rights of each key, and its limit of running requests."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.pages import ASSETS_PATH, CONSOLE_PATH
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.middleware import PROBE_PATHS, add_log_fields
from sightline.http.problem_responses import problem_response
from sightline.http.request_headers import bearer_token
from sightline.http.transport.connections import address_of
from sightline.jobs.job import Priority, read_priority
from sightline.jobs.queue import JobQueue

ADDRESS_DIGEST_CHARACTERS = 16
PUBLIC = "public"  # the owner of every job where no keys are configured
RETRY_AFTER_S = 2.0
EXPIRY_MARGIN_S = 30.0  # a request that this process does not sign off is forgotten that long after its deadline
# A record can be verified without access to the fleet, so the public keys need no API key.
OPEN_PATHS = frozenset((*PROBE_PATHS, "/", CONSOLE_PATH, "/docs", "/openapi.json", "/v1/evidence/keys"))
_CALLER = "sightline.caller"


def _model_name(name: str) -> str:
    """Accepts a model's name as in URLs (`hdr-correct`) or as in code (`hdr_correct`)."""
    return name.replace("-", "_")


class KeySettings(BaseModel):
    """One API key; only its digest is configured, so that reading the configuration gives no access."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    priority: Priority = Field(default=Priority.INTERACTIVE, description="The highest that it may request")
    max_running: PositiveInt | None = Field(default=None, description="Requests and jobs that run at a time")
    models: Annotated[frozenset[Annotated[str, AfterValidator(_model_name)]], Field(min_length=1)] | None = Field(
        default=None, description="Models that it may use, such as `inpaint`; all where it is left out"
    )


KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
_keys_file = TypeAdapter(dict[KeyName, KeySettings])


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request: the name and rights of its key, or the public caller with its address.

    `highest` is the highest priority that it may request; `models` is None where it may use all.
    """

    owner: str = PUBLIC
    highest: Priority = Priority.INTERACTIVE
    max_running: int | None = None
    address: str = ""
    models: frozenset[str] | None = None

    @property
    def fairness_key(self) -> str:
        """The unit between which capacity is shared: the key, or without keys a digest of the address."""
        if self.owner != PUBLIC:
            return self.owner
        return f"{PUBLIC}@{hashlib.sha256(self.address.encode()).hexdigest()[:ADDRESS_DIGEST_CHARACTERS]}"

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require_model(self, model: str) -> None:
        """Raises Problem FORBIDDEN for a model that the key may not use."""
        if not self.may_use(model):
            detail = f"This key may not use the model {model!r}."
            raise Problem(Code.FORBIDDEN, detail, model=model, models=sorted(self.models or ()))

    def priority(self, headers: Headers) -> Priority:
        """Returns the requested priority, or else the highest that the key allows; raises FORBIDDEN above that."""
        requested = read_priority(headers.get(names.PRIORITY)) or self.highest
        if requested is Priority.INTERACTIVE and self.highest is Priority.BULK:
            raise Problem(Code.FORBIDDEN, "This key may only request bulk priority.", priority=self.highest)
        return requested


class KeyRing:
    """The configured keys; without any, every request has the public caller."""

    def __init__(self, keys: Mapping[str, KeySettings]) -> None:
        self._callers = {
            key.sha256: Caller(name, key.priority, key.max_running, models=key.models) for name, key in keys.items()
        }
        if len(self._callers) < len(keys):
            raise ValueError("two keys have the same digest")

    @property
    def callers(self) -> Collection[Caller]:
        return self._callers.values()

    def caller(self, headers: Headers, *, address: str = "") -> Caller:
        """Returns the caller of a request; raises Problem UNAUTHORIZED without a known key."""
        if not self._callers:
            return Caller(address=address)
        key = bearer_token(headers) or headers.get("x-api-key")
        if key is None:
            raise Problem(Code.UNAUTHORIZED, "Send your key as `Authorization: Bearer …` or `X-Api-Key: …`.")
        # The lookup is by digest, so its duration reveals nothing about any key.
        caller = self._callers.get(hashlib.sha256(key.encode("latin-1")).hexdigest())
        if caller is None:
            raise Problem(Code.UNAUTHORIZED, "This key is not known here.")
        return caller


def read_keys(path: Path) -> dict[str, KeySettings]:
    """Reads a JSON file with the same content as the setting `keys`."""
    return _keys_file.validate_json(path.read_bytes())


class RunningLimit:
    """Limits the synchronous requests of each key to its `max_running`.

    Redis counts them together with the key's jobs. While it cannot be reached, only this gateway's requests count.
    """

    def __init__(self, queue: JobQueue | None, *, default: int | None) -> None:
        self._queue, self._default = queue, default
        self._running: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, caller: Caller, *, max_duration_s: float) -> AsyncIterator[None]:
        """Counts a request while it runs; raises Problem TOO_MANY_REQUESTS."""
        limit = caller.max_running or self._default
        if limit is None:
            yield
            return
        if self._running[caller.owner] >= limit:
            raise _too_many(limit)
        self._running[caller.owner] += 1
        try:
            async with self._counted_with_jobs(caller.owner, limit, max_duration_s):
                yield
        finally:
            self._running -= Counter([caller.owner])

    @asynccontextmanager
    async def _counted_with_jobs(self, owner: str, limit: int, max_duration_s: float) -> AsyncIterator[None]:
        run_id = f"request-{uuid4().hex}"
        if self._queue is None or not await self._enter(self._queue, owner, run_id, limit, max_duration_s):
            yield
            return
        try:
            yield
        finally:
            with suppress(Problem):
                await self._queue.release_slot(owner, run_id=run_id)

    async def _enter(self, queue: JobQueue, owner: str, run_id: str, limit: int, max_duration_s: float) -> bool:
        """Returns True where Redis counts the request, False where Redis cannot be reached."""
        try:
            entered = await queue.acquire_slot(owner, run_id=run_id, ttl_s=max_duration_s + EXPIRY_MARGIN_S)
        except Problem:
            return False
        if not entered:
            raise _too_many(limit)
        return True


def _too_many(limit: int) -> Problem:
    detail = f"This key may have {limit} requests and jobs running at a time; wait until one has ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, max_running=limit)


class AuthenticationMiddleware:
    """Authenticates requests before their bodies are read; probes, metrics, documents and the console need no key."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope["path"]):
            try:
                scope[_CALLER] = self._keys.caller(Headers(scope=scope), address=address_of(scope["client"]))
            except Problem as problem:
                await problem_response(problem, scope["path"], {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
            add_log_fields(scope, owner=scope[_CALLER].owner)
        await self.app(scope, receive, send)


def caller_of(scope: Scope) -> Caller:
    caller: Caller = scope[_CALLER]
    return caller


def fairness_key_of(scope: Scope) -> str:
    """Returns the caller's fairness key; on paths that need no key, that of the address."""
    caller: Caller = scope.get(_CALLER) or Caller(address=address_of(scope["client"]))
    return caller.fairness_key


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith((f"{ASSETS_PATH}/", f"{CONSOLE_PATH}/"))
