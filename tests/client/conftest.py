import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from sightline.client import AsyncClient, Client, operations
from tests.fleet import running_fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real services, gateway, Redis and workers that `make up` starts."""
    with running_fleet(tmp_path_factory.mktemp("state")) as address:
        yield address


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
