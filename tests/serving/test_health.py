from collections.abc import Callable

import httpx2
from fastapi import FastAPI
from starlette.types import ASGIApp

from sightline.inference.weights import Weights

MakeApp = Callable[..., FastAPI]
Serve = Callable[[ASGIApp], str]
WaitReady = Callable[[str], None]


def test_ready_tells_what_answers(
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
        "weights_verified": False,
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "takes_jobs": False,
        "jobs_detail": None,
        "estimated_queue_ms": 0.0,
    }


def test_lives_but_is_not_ready_without_a_model(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app(providers="cuda", on_fatal=lambda: None))
    assert httpx2.get(f"{url}/livez").status_code == 200
    reply = httpx2.get(f"{url}/readyz")
    assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
    assert reply.json()["state"] in ("warming", "failed")
    assert int(reply.headers["retry-after"]) >= 1
