"""Records and public keys through a real gateway, service and Redis."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sightline.api import headers as names
from sightline.api.media_types import JSON, PNG
from sightline.evidence.canonical_json import canonical_bytes, from_header, signed_bytes
from sightline.evidence.signing_keys import SigningKey, VerificationKey, key_set, read_key_set
from sightline.jobs.settings import JobSettings
from tests.evidence.test_canonical_json import make_evidence
from tests.redis_server import RedisServer
from tests.services.gateway.conftest import OpenGateway, Start, plain_png

ADA, EVE = "ada-key", "eve-key"
KEYS = {name: {"sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in (("ada", ADA), ("eve", EVE))}
MakeService = Callable[..., FastAPI]


def post(url: str, accept: str = PNG, **headers: str) -> httpx2.Response:
    reply = httpx2.post(f"{url}/v1/tiny-invert", content=plain_png(), headers={"Accept": accept, **headers})
    assert reply.status_code == 200, reply.text
    return reply


def link_of(reply: httpx2.Response) -> str:
    match = re.fullmatch(r'<([^>]+)>; rel="describedby"; type="application/json"', reply.headers["link"])
    assert match
    return match[1]


def test_picture_links_to_its_record_which_only_its_owner_reads(
    open_gateway: OpenGateway, start: Start, inverting_service: FastAPI, jobs: JobSettings
) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]}, jobs=jobs, keys=KEYS)
    reply = post(gateway.url, Authorization=f"Bearer {ADA}")
    link = gateway.url + link_of(reply)
    record = httpx2.get(link, headers={"X-Api-Key": ADA})
    assert record.json() == from_header(reply.headers[names.EVIDENCE])
    assert record.json()["results"][0]["sha256"] == hashlib.sha256(reply.content).hexdigest()
    assert httpx2.get(link, headers={"X-Api-Key": EVE}).status_code == 404
    assert httpx2.get(link).status_code == 401


def test_record_with_a_member_that_the_gateway_does_not_know_is_returned_whole(
    open_gateway: OpenGateway, start: Start, make_service: MakeService, jobs: JobSettings
) -> None:
    record = {**make_evidence().model_dump(mode="json"), "of_a_later_version": 1}
    header = base64.urlsafe_b64encode(zlib.compress(canonical_bytes(record))).decode()

    async def reply(_: Request) -> Response:
        return Response(b"picture", media_type=PNG, headers={names.EVIDENCE: header})

    gateway = open_gateway({"echo": [start(make_service(reply)).url]}, jobs=jobs)
    found = httpx2.post(f"{gateway.url}/v1/echo", content=plain_png())
    assert httpx2.get(gateway.url + link_of(found)).json() == record


def test_json_reply_holds_its_record_and_links_to_none(
    open_gateway: OpenGateway, start: Start, inverting_service: FastAPI, jobs: JobSettings
) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]}, jobs=jobs)
    reply = post(gateway.url, JSON)
    assert "link" not in reply.headers
    assert reply.json()["evidence"]["results"]


def test_nothing_is_stored_with_a_retention_of_zero(
    open_gateway: OpenGateway, start: Start, inverting_service: FastAPI, jobs: JobSettings, redis_server: RedisServer
) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]}, jobs=jobs, evidence_ttl_s=0)
    reply = post(gateway.url)
    assert "link" not in reply.headers
    assert from_header(reply.headers[names.EVIDENCE])
    with redis_server.client() as client:
        assert client.keys("*evidence*") == []
    unknown = httpx2.get(f"{gateway.url}/v1/evidence/{reply.headers[names.REQUEST_ID]}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


def test_result_of_a_job_links_to_the_record_of_its_representation(
    open_gateway: OpenGateway,
    start: Start,
    make_inverting_service: MakeService,
    jobs: JobSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", str(jobs.redis_url))
    monkeypatch.setenv("SIGHTLINE_BLOBS_URL", str(jobs.blobs_url))
    gateway = open_gateway({"tiny_invert": [start(make_inverting_service()).url]}, jobs=jobs)
    reply = post(gateway.url, f"{PNG}, {JSON};q=0.5", Prefer="wait=20, respond-async")
    job = httpx2.get(f"{gateway.url}/v1/jobs/{reply.headers[names.JOB]}").json()
    assert names.EVIDENCE not in job["results"][0]["headers"]
    result = httpx2.get(gateway.url + job["links"]["result"], headers={"Accept": PNG})
    record = httpx2.get(gateway.url + link_of(result)).json()
    assert record["results"][0]["sha256"] == hashlib.sha256(result.content).hexdigest()
    assert record["request_id"] == reply.headers[names.REQUEST_ID]
    assert httpx2.delete(gateway.url + job["links"]["self"]).status_code == 200
    assert httpx2.get(gateway.url + link_of(result)).status_code == 404


def test_published_keys_verify_a_record_and_need_no_api_key(
    open_gateway: OpenGateway, start: Start, make_inverting_service: MakeService, tmp_path: Path
) -> None:
    key, published = tmp_path / "key.pem", tmp_path / "keys.json"
    SigningKey.generate().write(key)
    retired = SigningKey.generate().public
    published.write_text(json.dumps(key_set([retired])))
    gateway = open_gateway(
        {"tiny_invert": [start(make_inverting_service(evidence_key=key)).url]},
        evidence_key=key,
        evidence_keys=published,
        keys=KEYS,
    )
    keys = httpx2.get(f"{gateway.url}/v1/evidence/keys").json()["keys"]
    public = {jwk["kid"]: VerificationKey.from_jwk(jwk) for jwk in keys}
    assert retired.id in public
    record = from_header(post(gateway.url, Authorization=f"Bearer {ADA}").headers[names.EVIDENCE])
    public[record["signing_key"]].verify(record["signature"], signed_bytes(record))


def test_key_that_is_added_later_is_published_without_a_restart(
    open_gateway: OpenGateway, start: Start, inverting_service: FastAPI, tmp_path: Path
) -> None:
    published, keys = tmp_path / "keys.json", [SigningKey.generate().public for _ in range(2)]
    published.write_text(json.dumps(key_set(keys[:1])))
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]}, evidence_keys=published)
    published.write_text(json.dumps(key_set(keys)))
    listed = httpx2.get(f"{gateway.url}/v1/evidence/keys").json()["keys"]
    assert {jwk["kid"] for jwk in listed} == set(read_key_set(published))


def test_fleet_without_keys_publishes_none(open_gateway: OpenGateway, start: Start, inverting_service: FastAPI) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]})
    assert httpx2.get(f"{gateway.url}/v1/evidence/keys").json() == {"keys": []}
