"""Who calls: API keys, by their SHA-256, and what each may do."""

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
from sightline.http.connections import address_of
from sightline.http.middleware import PROBE_PATHS, add_log_fields
from sightline.http.problem_responses import problem_response
from sightline.http.request_headers import bearer_token
from sightline.jobs.job import Priority, read_priority
from sightline.jobs.queue import JobQueue

SHARE_CHARACTERS = 16
PUBLIC = "public"  # the owner of every job where no keys are configured
RETRY_AFTER_S = 2.0
MARGIN_S = 30.0
OPEN_PATHS = frozenset((*PROBE_PATHS, "/", CONSOLE_PATH, "/docs", "/openapi.json"))
_CALLER = "sightline.caller"


def _model_name(name: str) -> str:
    """A model's name in URLs is as good as that of its folder."""
    return name.replace("-", "_")


class KeySettings(BaseModel):
    """One key; only its digest is configured, so that the configuration gives no access."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    priority: Priority = Field(default=Priority.INTERACTIVE, description="The highest it may ask for")
    max_running: PositiveInt | None = Field(default=None, description="Of its jobs at a time")
    models: Annotated[frozenset[Annotated[str, AfterValidator(_model_name)]], Field(min_length=1)] | None = Field(
        default=None, description="The only ones that it may use, such as `inpaint`; all where it is left out"
    )


KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


_file = TypeAdapter(dict[KeyName, KeySettings])


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is; `highest` is the priority that the key may ask for."""

    owner: str = PUBLIC
    highest: Priority = Priority.INTERACTIVE
    max_running: int | None = None
    address: str = ""
    models: frozenset[str] | None = None  # None: all

    @property
    def share(self) -> str:
        """Between whom places are shared: keys, or where there are none addresses, of which only a digest is kept."""
        if self.owner != PUBLIC:
            return self.owner
        return f"{PUBLIC}@{hashlib.sha256(self.address.encode()).hexdigest()[:SHARE_CHARACTERS]}"

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require_model(self, model: str) -> None:
        """Raises Problem FORBIDDEN for a model that the key is not for."""
        if not self.may_use(model):
            detail = f"This key may not use the model {model!r}."
            raise Problem(Code.FORBIDDEN, detail, model=model, models=sorted(self.models or ()))

    def priority(self, headers: Headers) -> Priority:
        """Returns the requested priority, or else the highest that the key allows; raises FORBIDDEN above that."""
        requested = read_priority(headers.get(names.PRIORITY)) or self.highest
        if requested is Priority.INTERACTIVE and self.highest is Priority.BULK:
            raise Problem(Code.FORBIDDEN, "This key may only ask for bulk work.", priority=self.highest)
        return requested


class KeyRing:
    """The keys there are; without any, everybody is the same public caller."""

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
        """Raises Problem UNAUTHORIZED."""
        if not self._callers:
            return Caller(address=address)
        key = _presented(headers)
        if key is None:
            raise Problem(Code.UNAUTHORIZED, "Send your key as `Authorization: Bearer …` or `X-Api-Key: …`.")
        # Digests are looked up, so how long it takes tells nothing about any key.
        caller = self._callers.get(hashlib.sha256(key.encode("latin-1")).hexdigest())
        if caller is None:
            raise Problem(Code.UNAUTHORIZED, "This key is not known here.")
        return caller


def read_keys(path: Path) -> dict[str, KeySettings]:
    """From a JSON file with the same content as the setting."""
    return _file.validate_json(path.read_bytes())


def _presented(headers: Headers) -> str | None:
    return bearer_token(headers) or headers.get("x-api-key")


class RunningLimit:
    """Holds synchronous requests to `max_running` of their key: together with its jobs, as long as Redis can be asked.

    Without Redis it counts what runs through this gateway.
    """

    def __init__(self, queue: JobQueue | None, *, default: int | None) -> None:
        self._queue, self._default = queue, default
        self._running: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, caller: Caller, *, longest_s: float) -> AsyncIterator[None]:
        """Raises Problem TOO_MANY_REQUESTS."""
        limit = caller.max_running or self._default
        if limit is None:
            yield
            return
        if self._running[caller.owner] >= limit:
            raise _too_many(limit)
        self._running[caller.owner] += 1
        try:
            async with self._counted_with_jobs(caller.owner, limit, longest_s):
                yield
        finally:
            self._running -= Counter([caller.owner])

    @asynccontextmanager
    async def _counted_with_jobs(self, owner: str, limit: int, longest_s: float) -> AsyncIterator[None]:
        run_id = f"request-{uuid4().hex}"
        if self._queue is None or not await self._enter(self._queue, owner, run_id, limit, longest_s):
            yield
            return
        try:
            yield
        finally:
            with suppress(Problem):
                await self._queue.release_slot(owner, run_id=run_id)

    async def _enter(self, queue: JobQueue, owner: str, run_id: str, limit: int, longest_s: float) -> bool:
        """Whether Redis counts it; where it cannot be asked, requests go on without."""
        try:
            entered = await queue.acquire_slot(owner, run_id=run_id, ttl_s=longest_s + MARGIN_S)
        except Problem:
            return False
        if not entered:
            raise _too_many(limit)
        return True


def _too_many(limit: int) -> Problem:
    detail = f"As many requests and jobs of this key run as may: {limit}; wait until one has ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, max_running=limit)


class AuthenticationMiddleware:
    """Finds out who calls before anything of the request is read; probes, metrics, documents and the
    console's own files are for everybody."""

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
    """Whose share a request takes; of what is open to everybody, that of its address."""
    caller: Caller = scope.get(_CALLER) or Caller(address=address_of(scope["client"]))
    return caller.share


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith((f"{ASSETS_PATH}/", f"{CONSOLE_PATH}/"))
