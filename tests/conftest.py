"""What every test may use: a real server for an app, on a port of its own."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.types import ASGIApp

from tests.redis_server import RedisServer, running_redis

pytest_plugins = ["tests.tiny_service"]

STARTUP_LIMIT_S = 20.0

Serve = Callable[[ASGIApp], str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves an app by uvicorn in a thread until the test ends, and returns its base URL."""
    with contextlib.ExitStack() as running:
        yield lambda app: running.enter_context(_serving(app))


@pytest.fixture(scope="session")
def _embedded_redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(_embedded_redis: RedisServer) -> str:
    """Of a real, empty Redis; a test that stops or fills one starts its own with `running_redis`."""
    with _embedded_redis.client() as client:
        client.flushall()
    return _embedded_redis.url


@contextlib.contextmanager
def _serving(app: ASGIApp) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the server did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STARTUP_LIMIT_S)


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + STARTUP_LIMIT_S
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
