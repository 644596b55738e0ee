import hashlib

import httpx2
import pytest

from sightline.api.problems import Code
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import Hand, MakeService, OpenGateway, Server, Start

KEYS = {
    name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), "priority": priority}
    for name, priority in (("desk", "interactive"), ("archive", "bulk"))
}
DESK, ARCHIVE = {"Authorization": "Bearer desk"}, {"X-Api-Key": "archive"}
LATER = {"Prefer": "respond-async"}


@pytest.fixture
def gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=KEYS)


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/models", "/v1/jobs", "/v2/models/echo", "/nowhere"])
def test_asks_for_a_key(gateway: Server, path: str) -> None:
    for headers in ({}, {"X-Api-Key": "wrong"}):
        reply = httpx2.post(gateway.url + path, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, Code.UNAUTHORIZED)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.json()["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v2/health/ready"])
def test_probes_metrics_and_documents_are_for_everybody(gateway: Server, path: str) -> None:
    assert httpx2.get(gateway.url + path).status_code == 200


def test_the_key_opens_the_models(gateway: Server, png: bytes) -> None:
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=DESK).content == png
    security = httpx2.get(f"{gateway.url}/openapi.json").json()
    assert security["security"] == [{"bearer": []}, {"api_key": []}]
    assert set(security["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_a_callers_jobs_are_its_own(gateway: Server, hand: Hand, png: bytes) -> None:
    path = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**DESK, **LATER}).headers["location"]
    assert hand.take().job.owner == "desk"
    assert httpx2.get(gateway.url + path, headers=DESK).status_code == 200
    assert httpx2.get(f"{gateway.url}/v1/jobs", headers=ARCHIVE).json()["jobs"] == []
    for method, end in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
        reply = httpx2.request(method, gateway.url + path + end, headers=ARCHIVE)
        assert (reply.status_code, reply.json()["code"]) == (404, Code.NOT_FOUND)


def test_keys_of_two_callers_do_not_meet(gateway: Server, png: bytes) -> None:
    ids = {
        httpx2.post(f"{gateway.url}/v1/echo", content=body, headers={**key, **LATER, "Idempotency-Key": "k"}).json()[
            "id"
        ]
        for key, body in ((DESK, png), (ARCHIVE, png + b"!"))
    }
    assert len(ids) == 2


def test_a_key_for_bulk_work_gets_no_other(gateway: Server, png: bytes) -> None:
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**ARCHIVE, **LATER})
    assert reply.json()["priority"] == "bulk"
    asked = {**ARCHIVE, **LATER, "X-Sightline-Priority": "interactive"}
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=asked)
    assert (reply.status_code, reply.json()["code"]) == (403, Code.FORBIDDEN)
