"""The queue's Lua scripts, each one an atomic change, and names of keys that are read outside of them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError, TimeoutError

from sightline.jobs.connection import SOCKET_TIMEOUT_S, redis_errors_as_problems
from sightline.jobs.settings import JobSettings

MAX_DELAY_S = 0.9 * SOCKET_TIMEOUT_S
TRIES_IN_TIME = 3  # the first is late if the clock of Redis is not known yet, or was changed
PYTHON_ONLY_SETTINGS = frozenset(("redis_url", "redis_prefix", "blobs_url"))


def script_source(name: str) -> str:
    """Returns the source of one script, preceded by the functions that all share."""
    return _sources()[name]


@cache
def _sources() -> Mapping[str, str]:
    """Reads all scripts at the start, because later the process may have no file descriptor left."""
    texts = {
        file.name.removesuffix(".lua"): file.read_text(encoding="utf-8")
        for file in (files("sightline.jobs") / "lua").iterdir()
    }
    common = texts.pop("common")
    return {name: f"{common}\n{text}" for name, text in texts.items()}


def script_arguments(settings: JobSettings, arguments: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Returns keys and arguments for `lua/common.lua`. None is left out, because JSON's null is true in Lua."""
    options = settings.model_dump(mode="json", exclude_none=True, exclude=set(PYTHON_ONLY_SETTINGS))
    given = {name: value for name, value in arguments.items() if value is not None}
    return [settings.redis_prefix], [json.dumps(given), json.dumps(options)]


class Scripts:
    """Runs the queue's scripts; each is one atomic change."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._settings = redis, settings
        _sources()
        self._clock_offset_s = 0.0  # of Redis' clock to this process' monotonic one; a reply 'late' sets it

    async def run(self, name: str, *, repeatable: bool = True, timely: bool = False, **arguments: Any) -> Any:
        """Runs a script; a `repeatable` one runs once more if the connection was lost. Raises QUEUE_UNAVAILABLE.

        It is not repeated after a timeout, as the caller has waited long enough. A `timely` script does nothing if
        Redis runs it only after the caller's timeout.
        """
        async with redis_errors_as_problems():
            if timely:
                return await self._run_in_time(name, arguments, repeatable=repeatable)
            return await self._run_with_reconnect(name, arguments, repeatable=repeatable)

    async def _run_in_time(self, name: str, arguments: Mapping[str, Any], *, repeatable: bool) -> Any:
        for _ in range(TRIES_IN_TIME):
            timing = {"sent_at": time.monotonic() + self._clock_offset_s, "patience_s": MAX_DELAY_S}
            reply = await self._run_with_reconnect(name, {**arguments, **timing}, repeatable=repeatable)
            match reply:
                case ["late", wall]:
                    self._clock_offset_s = float(wall) - time.monotonic()
                case _:
                    return reply
        raise TimeoutError

    async def _run_with_reconnect(self, name: str, arguments: Mapping[str, Any], *, repeatable: bool) -> Any:
        try:
            return await self._run(name, arguments)
        except ConnectionError as error:
            silent = isinstance(error.__context__, TimeoutError)  # in the handshake of a new connection
            if silent or not repeatable:
                raise
            return await self._run(name, arguments)

    async def _run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        keys, args = script_arguments(self._settings, arguments)
        return await self._redis.register_script(script_source(name))(keys=keys, args=args)


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """Names of keys that are read outside of the scripts; all others are in `lua/common.lua`."""

    prefix: str

    def job(self, job_id: str) -> str:
        return f"{self.prefix}job:{job_id}"

    def events(self, job_id: str) -> str:
        return f"{self.prefix}events:{job_id}"

    def wake(self, model: str) -> str:
        return f"{self.prefix}wake:{model}"

    def cancelled(self, model: str) -> str:
        return f"{self.prefix}cancelled:{model}"

    def models(self) -> str:
        return f"{self.prefix}models"

    def webhooks_due(self) -> str:
        return f"{self.prefix}webhooks:due"

    def webhook_delivery(self, job_id: str) -> str:
        return f"{self.prefix}webhooks:delivery:{job_id}"
