import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Protocol, cast

import pytest

from sightline.cli.fleet import free_port
from sightline.client import AsyncClient, Client, operations

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real services, gateway, Redis and workers that `make up` starts."""
    state = str(tmp_path_factory.mktemp("state"))
    command = (sys.executable, "-m", "sightline.cli", "up", "--port", str(free_port()), "--state", state)
    with Popen(command, cwd=ROOT, stdout=PIPE, text=True) as fleet:
        assert fleet.stdout is not None
        for line in fleet.stdout:
            if match := re.search(r"console at (\S+)/console/", line):
                break
        assert match, "the fleet did not start"
        yield match[1]
        fleet.terminate()
        fleet.communicate(timeout=120)


class Call(Protocol):
    """Calls a method of a client and returns its result."""

    def __call__(self, url: str | None, name: str, /, *arguments: Any, **options: Any) -> Any: ...


def call_client(
    url: str | None, name: str, /, *arguments: Any, client: dict[str, Any] | None = None, **options: Any
) -> Any:
    with Client(url, **(client or {})) as opened:
        result = getattr(opened, name)(*arguments, **options)
        return list(result) if name in ("events", "map") else result


def call_async_client(
    url: str | None, name: str, /, *arguments: Any, client: dict[str, Any] | None = None, **options: Any
) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **(client or {})) as opened:
            called = getattr(opened, name)(*arguments, **options)
            return [each async for each in called] if name in ("events", "map") else await called

    return asyncio.run(run())


@pytest.fixture(params=[call_client, call_async_client], ids=["sync", "async"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setattr(operations, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(operations, "POLL_PAUSE_S", 0.01)
    monkeypatch.delenv("SIGHTLINE_API_KEY", raising=False)
    return cast(Call, request.param)
