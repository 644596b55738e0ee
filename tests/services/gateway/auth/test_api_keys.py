import asyncio
import hashlib
import json
from http.client import HTTPConnection
from itertools import product
from pathlib import Path

import httpx2
import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.auth.api_keys import Caller, KeyRing, KeySettings, read_keys
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.jobs.connection import connect
from sightline.jobs.job import BlobRef, JobReason, Priority, StoredRequest, Submission
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import MakeService, ManualWorker, OpenGateway, Server, Start

KEYS = {
    name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), "priority": priority}
    for name, priority in (("desk", "interactive"), ("archive", "bulk"))
}
DESK, ARCHIVE = {"Authorization": "Bearer desk"}, {"X-Api-Key": "archive"}
LATER = {"Prefer": "respond-async"}


def settings_of(key: str, **more: object) -> KeySettings:
    return KeySettings.model_validate({"sha256": hashlib.sha256(key.encode()).hexdigest(), **more})


RING = KeyRing({"desk": settings_of("one"), "archive": settings_of("two", priority="bulk", max_running=2)})


def test_without_keys_all_requests_have_the_public_caller() -> None:
    assert KeyRing({}).caller(Headers({"Authorization": "Bearer whatever"})) == Caller("public")


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer two"}, {"authorization": "bearer  two "}, {"X-Api-Key": "two"}]
)
def test_caller_is_found_by_its_key(headers: dict[str, str]) -> None:
    assert RING.caller(Headers(headers)) == Caller("archive", Priority.BULK, 2)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer three"}, {"Authorization": "Basic two"}, {"X-Api-Key": ""}, {"X-Api-Key": "tw\xf6"}],
)
def test_unknown_or_missing_key_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        RING.caller(Headers(headers))
    assert caught.value.code is Code.UNAUTHORIZED
    assert "three" not in caught.value.detail


def test_key_can_be_limited_to_models() -> None:
    settings = settings_of("three", models=["hdr-correct", "hoi"])
    caller = KeyRing({"lab": settings}).caller(Headers({"X-Api-Key": "three"}))
    assert [name for name in ("hdr_correct", "hoi", "inpaint", "HOI") if caller.may_use(name)] == ["hdr_correct", "hoi"]
    with pytest.raises(Problem) as caught:
        caller.require_model("inpaint")
    assert (caught.value.status, caught.value.code) == (403, Code.FORBIDDEN)
    assert caught.value.facts["models"] == ["hdr_correct", "hoi"]
    assert Caller().may_use("inpaint")


@pytest.mark.parametrize("models", [[], "hoi", [1], 3])
def test_limit_to_models_is_a_list_of_names(models: object) -> None:
    with pytest.raises(ValidationError):
        settings_of("three", models=models)


def test_limit_to_an_unknown_model_fails_the_start() -> None:
    upstreams = {"hoi": ["http://127.0.0.1:1"]}
    for models, refused in ((["hoi"], False), (["hoi", "hio"], True)):
        keys = {"lab": settings_of("three", models=models)}
        if refused:
            with pytest.raises(ValidationError, match="'lab' is limited to models that are not here: hio"):
                GatewaySettings(upstreams=upstreams, keys=keys)
        else:
            assert GatewaySettings(upstreams=upstreams, keys=keys).all_keys == keys


def test_default_priority_is_the_highest_of_the_key() -> None:
    bulk, both = Caller(highest=Priority.BULK), Caller()
    assert both.priority(Headers()) is Priority.INTERACTIVE
    assert both.priority(Headers({"X-Sightline-Priority": "bulk"})) is Priority.BULK
    assert bulk.priority(Headers()) is Priority.BULK
    with pytest.raises(Problem) as caught:
        bulk.priority(Headers({"X-Sightline-Priority": "interactive"}))
    assert caught.value.code is Code.FORBIDDEN
    with pytest.raises(Problem) as caught:
        both.priority(Headers({"X-Sightline-Priority": "urgent"}))
    assert caught.value.code is Code.INVALID_REQUEST


def test_keys_are_read_from_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two = settings_of("one"), settings_of("two", priority="bulk")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"archive": two.model_dump(mode="json")}))
    monkeypatch.setenv("SIGHTLINE_KEYS", json.dumps({"desk": one.model_dump(mode="json")}))
    monkeypatch.setenv("SIGHTLINE_KEYS_FILE", str(path))
    assert GatewaySettings().all_keys == {"desk": one, "archive": two}
    assert read_keys(path) == {"archive": two}


@pytest.mark.parametrize("key", [{"sha256": "one"}, {"sha256": "ab" * 32, "max_running": 0}, {"key": "one"}])
def test_invalid_keys_fail_the_start(key: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KeySettings.model_validate(key)


def test_one_digest_for_two_keys_fails_the_start() -> None:
    with pytest.raises(ValueError, match="same digest"):
        KeyRing({"a": settings_of("one"), "b": settings_of("one")})


@pytest.fixture
def gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=KEYS)


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/models", "/v1/jobs", "/v2/models/echo", "/nowhere"])
def test_request_without_key_is_unauthorized(gateway: Server, path: str) -> None:
    for headers in ({}, {"X-Api-Key": "wrong"}):
        reply = httpx2.post(gateway.url + path, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, Code.UNAUTHORIZED)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.json()["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v2/health/ready"])
def test_probes_metrics_and_documents_need_no_key(gateway: Server, path: str) -> None:
    assert httpx2.get(gateway.url + path).status_code == 200


def test_models_accept_a_known_key(gateway: Server, png: bytes) -> None:
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=DESK).content == png
    security = httpx2.get(f"{gateway.url}/openapi.json").json()
    assert security["security"] == [{"bearer": []}, {"api_key": []}]
    assert set(security["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_jobs_of_another_caller_are_not_found(gateway: Server, worker: ManualWorker, png: bytes) -> None:
    path = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**DESK, **LATER}).headers["location"]
    assert worker.take().job.owner == "desk"
    assert httpx2.get(gateway.url + path, headers=DESK).status_code == 200
    assert httpx2.get(f"{gateway.url}/v1/jobs", headers=ARCHIVE).json()["jobs"] == []
    for method, end in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
        reply = httpx2.request(method, gateway.url + path + end, headers=ARCHIVE)
        assert (reply.status_code, reply.json()["code"]) == (404, Code.NOT_FOUND)


def test_idempotency_keys_of_two_callers_are_separate(gateway: Server, png: bytes) -> None:
    ids = {
        httpx2.post(f"{gateway.url}/v1/echo", content=body, headers={**key, **LATER, "Idempotency-Key": "k"}).json()[
            "id"
        ]
        for key, body in ((DESK, png), (ARCHIVE, png + b"!"))
    }
    assert len(ids) == 2


def test_bulk_key_cannot_request_interactive_priority(gateway: Server, png: bytes) -> None:
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**ARCHIVE, **LATER})
    assert reply.json()["priority"] == "bulk"
    asked = {**ARCHIVE, **LATER, "X-Sightline-Priority": "interactive"}
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=asked)
    assert (reply.status_code, reply.json()["code"]) == (403, Code.FORBIDDEN)


@pytest.fixture
def limited(start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings) -> Server:
    """A gateway of two models; the key `lab` is for one of them, `desk` for both."""
    keys = {**KEYS, "lab": {"sha256": hashlib.sha256(b"lab").hexdigest(), "models": ["echo"]}}
    services = {"echo": make_service(), "other_one": make_service(_tell, model="other_one")}
    upstreams = {name: [start(service).url] for name, service in services.items()}
    return open_gateway(upstreams, jobs=jobs, keys=keys)


async def _tell(_: Request) -> Response:
    return Response("the other model")


LAB = {"X-Api-Key": "lab"}


OTHER_PATHS = [
    *("/v1/other-one", "/v1/other%2Done", "/v1/%6fther-one", "/v1//other-one", "/v1/Other-one", "/v1/other_one"),
    *("/v1/other-one/", "/v1/other-one/more", "/v1/other-one%2F", "/v1/echo/../other-one", "/v1/echo/%2e%2e/other-one"),
    *("/v1/models/other_one", "/v1/models/other_one/card", "/v1/models/other%5Fone/card", "/v1/models/OTHER_ONE/card"),
    *("/v2/models/other_one", "/v2/models/other_one/infer", "/v2/models/other%5fone/infer", "/v2/models/other-one"),
    *("/v2/models/echo/../other_one/infer", "/v2/models/other_one/versions/1/infer", "/V1/other-one"),
]


def test_key_for_one_model_reaches_no_other_model(limited: Server) -> None:
    for method, path in product(("GET", "POST"), OTHER_PATHS):
        connection = HTTPConnection(*limited.address)
        # The path as it is: other clients resolve dots.
        connection.request(method, path, body=b"x", headers={**LAB, **LATER, "Content-Type": "text/plain"})
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        assert b"the other model" not in body, (method, path)
        if "/../" not in path and "/%2e%2e/" not in path:  # which the service of `echo` answers
            assert reply.status in (403, 404, 405), (method, path)
        if reply.status == 403:
            assert json.loads(body)["code"] == Code.FORBIDDEN


def test_other_models_are_forbidden(limited: Server) -> None:
    for method, path in (
        *(("POST", "/v1/other-one"), ("POST", "/v1/%6fther-one"), ("GET", "/v1/models/other_one")),
        *(
            ("GET", "/v1/models/other_one/card"),
            ("POST", "/v2/models/other_one/infer"),
            ("GET", "/v2/models/other_one"),
        ),
    ):
        assert httpx2.request(method, limited.url + path, headers=LAB).status_code == 403, path
        assert httpx2.request(method, limited.url + path, headers=DESK).status_code != 403, path


def test_key_for_one_model_reaches_that_model(limited: Server, png: bytes) -> None:
    assert httpx2.post(f"{limited.url}/v1/echo", content=png, headers=LAB).content == png
    assert [model["name"] for model in httpx2.get(f"{limited.url}/v1/models", headers=LAB).json()["models"]] == ["echo"]
    index = httpx2.post(f"{limited.url}/v2/repository/index", headers=LAB).json()
    assert [entry["name"] for entry in index] == ["echo"]


def test_jobs_of_other_models_are_forbidden_but_can_be_deleted(
    limited: Server, worker: ManualWorker, jobs: JobSettings, png: bytes
) -> None:
    refused = httpx2.post(f"{limited.url}/v1/other-one", content=png, headers={**LAB, **LATER})
    assert refused.status_code == 403
    assert worker.idle("other_one")
    own = httpx2.post(f"{limited.url}/v1/echo", content=png, headers={**LAB, **LATER}).headers["location"]
    # From the time before the key was limited.
    earlier = f"/v1/jobs/{asyncio.run(_submit(jobs, owner='lab', model='other_one'))}"
    listed = httpx2.get(f"{limited.url}/v1/jobs", headers=LAB).json()["jobs"]
    assert [job["links"]["self"] for job in listed] == [own]
    assert httpx2.get(f"{limited.url}/v1/jobs?model=other_one", headers=LAB).status_code == 403
    for end in ("", "/result", "/events"):
        reply = httpx2.get(limited.url + earlier + end, headers=LAB)
        assert (reply.status_code, reply.json()["code"]) == (403, Code.FORBIDDEN)
    assert httpx2.delete(limited.url + earlier, headers=LAB).json()["state"] == "cancelled"


async def _submit(jobs: JobSettings, *, owner: str, model: str) -> str:
    submission = Submission(
        id="job-1",
        model=model,
        owner=owner,
        priority=Priority.INTERACTIVE,
        reason=JobReason.ASKED,
        request=StoredRequest(f"/v1/{model}", "", "image/png", None, BlobRef("0" * 64, 1)),
        request_id="request-1",
        fingerprint="0" * 64,
    )
    async with connect(str(jobs.redis_url)) as redis:
        return (await JobQueue(redis, jobs).submit(submission)).id
