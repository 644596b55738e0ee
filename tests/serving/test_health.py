import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.types import ASGIApp

from sightline.inference.weights import Weights

MakeApp = Callable[..., FastAPI]
Serve = Callable[[ASGIApp], str]
WaitReady = Callable[[str], None]


def test_readiness_names_model_weights_and_provider(
    serve: Serve, make_app: MakeApp, wait_ready: WaitReady, tiny_weights: Weights
) -> None:
    url = serve(make_app())
    wait_ready(url)
    assert httpx2.get(f"{url}/livez").json() == {"status": "live"}
    assert httpx2.get(f"{url}/readyz").json() == {
        "status": "ready",
        "state": "ready",
        "model": "tiny_invert",
        "version": "1.2.3",
        "weights_sha256": tiny_weights.sha256,
        "contract": "shipped",
        "detector": None,
        "stronger_weights": None,
        "weights_verified": False,
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "takes_jobs": False,
        "jobs_detail": None,
        "estimated_queue_ms": 0.0,
    }


def test_service_without_a_model_is_live_but_not_ready(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app(providers="cuda", on_fatal=lambda: None))
    assert httpx2.get(f"{url}/livez").status_code == 200
    reply = httpx2.get(f"{url}/readyz")
    assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
    assert reply.json()["state"] in ("warming", "failed")
    assert int(reply.headers["retry-after"]) >= 1


def test_service_whose_background_task_fails_is_not_ready_and_says_why(
    serve: Serve, make_app: MakeApp, wait_ready: WaitReady
) -> None:
    app, doomed = make_app(), threading.Event()
    lifespan = app.router.lifespan_context

    async def fail() -> None:
        await asyncio.to_thread(doomed.wait)
        raise ConnectionError("a text for nobody")

    @asynccontextmanager
    async def with_failing_task(application: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with lifespan(application) as state:
            assert state is not None
            async with state["service"].tasks.running("doomed", fail()):
                yield state

    app.router.lifespan_context = with_failing_task
    url = serve(app)
    wait_ready(url)
    doomed.set()
    limit = time.monotonic() + 20
    while (reply := httpx2.get(f"{url}/readyz")).status_code == 200:
        assert time.monotonic() < limit, "the service stayed ready"
        time.sleep(0.01)
    assert (reply.status_code, reply.json()["code"], reply.json()["state"]) == (503, "not_ready", "failed")
    assert reply.json()["detail"] == "The background task 'doomed' ended unexpectedly."
    assert httpx2.get(f"{url}/livez").status_code == 200
