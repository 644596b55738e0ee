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

PATIENCE_S = 0.9 * SOCKET_TIMEOUT_S
TRIES_IN_TIME = 3  # the first is late where the clock of Redis is not known yet, or was set
NOT_FOR_SCRIPTS = frozenset(("redis_url", "redis_prefix", "blobs_url"))


def script_source(name: str) -> str:
    """Of one script, with what all of them share in front."""
    return _sources()[name]


@cache
def _sources() -> Mapping[str, str]:
    """All at once, at the start: later no file may be to be had."""
    texts = {
        file.name.removesuffix(".lua"): file.read_text(encoding="utf-8")
        for file in (files("sightline.jobs") / "lua").iterdir()
    }
    common = texts.pop("common")
    return {name: f"{common}\n{text}" for name, text in texts.items()}


def script_arguments(settings: JobSettings, arguments: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Keys and arguments as `lua/common.lua` reads them; None is left out, because JSON's null is true in Lua."""
    options = settings.model_dump(mode="json", exclude_none=True, exclude=set(NOT_FOR_SCRIPTS))
    given = {name: value for name, value in arguments.items() if value is not None}
    return [settings.redis_prefix], [json.dumps(given), json.dumps(options)]


class Scripts:
    """Every change of the queue, each one atomic."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._settings = redis, settings
        _sources()
        self._clock_offset_s = 0.0  # of Redis' clock to this process' monotonic one; a reply 'late' sets it

    async def run(self, name: str, *, repeatable: bool = True, timely: bool = False, **arguments: Any) -> Any:
        """Raises Problem QUEUE_UNAVAILABLE; a `repeatable` script runs once more where the connection was lost.

        Not where Redis kept silent: whoever waits has waited long enough. A `timely` script does nothing where Redis
        gets to it only after that.
        """
        async with redis_errors_as_problems():
            if timely:
                return await self._run_in_time(name, arguments, repeatable=repeatable)
            return await self._run_persistently(name, arguments, repeatable=repeatable)

    async def _run_in_time(self, name: str, arguments: Mapping[str, Any], *, repeatable: bool) -> Any:
        for _ in range(TRIES_IN_TIME):
            timing = {"sent_at": time.monotonic() + self._clock_offset_s, "patience_s": PATIENCE_S}
            reply = await self._run_persistently(name, {**arguments, **timing}, repeatable=repeatable)
            match reply:
                case ["late", wall]:
                    self._clock_offset_s = float(wall) - time.monotonic()
                case _:
                    return reply
        raise TimeoutError

    async def _run_persistently(self, name: str, arguments: Mapping[str, Any], *, repeatable: bool) -> Any:
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
    """Names in Redis that are read outside the scripts; those of the queue itself are in `lua/common.lua`."""

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
