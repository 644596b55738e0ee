import json
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from services.gateway.documentation.jobs import document_jobs
from services.gateway.jobs.schemas import JobPage, PublicJob
from tests.services.gateway.conftest import Eventually, OpenGateway, Start


@pytest.fixture
def document(
    start: Start, open_gateway: OpenGateway, eventually: Eventually, inverting_service: FastAPI
) -> dict[str, Any]:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]})

    def merged() -> dict[str, Any]:
        found: dict[str, Any] = httpx2.get(f"{gateway.url}/openapi.json").json()
        return found

    eventually(lambda: "/v1/tiny-invert" in merged()["paths"])
    return merged()


def test_model_routes_document_job_options(document: dict[str, Any]) -> None:
    post = document["paths"]["/v1/tiny-invert"]["post"]
    headers = {parameter["name"] for parameter in post["parameters"] if parameter["in"] == "header"}
    assert {"Prefer", "Idempotency-Key", "X-Sightline-Priority", "X-Sightline-Webhook"} <= headers
    assert {"200", "202", "401", "403", "409", "413", "422"} <= set(post["responses"])
    accepted = post["responses"]["202"]
    assert {"Location", "Retry-After"} <= set(accepted["headers"])
    content = accepted["content"]["application/json"]
    assert content["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    assert PublicJob.model_validate(content["example"]).state == "queued"


def test_job_routes_have_examples(document: dict[str, Any]) -> None:
    paths = document["paths"]
    one = paths["/v1/jobs/{job_id}"]
    assert set(one) == {"get", "delete"}
    assert TypeAdapter(PublicJob).validate_python(_example(one["get"])).results
    assert JobPage.model_validate(_example(paths["/v1/jobs"]["get"])).next
    assert set(paths["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]) == {"text/event-stream"}
    result = paths["/v1/jobs/{job_id}/result"]["get"]["responses"]
    assert {"200", "304", "404", "406", "409", "410", "502", "503"} <= set(result)


def test_invalid_requests_are_documented_as_400(document: dict[str, Any]) -> None:
    replies = document["paths"]["/v1/jobs"]["get"]["responses"]
    assert "422" not in replies
    assert set(replies["400"]["content"]) == {"application/problem+json"}


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    named = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= set(document["components"]["schemas"])


def test_published_schema_names_are_stable(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"State", "Reason", "Fate", "PublicJob"} <= set(schemas)
    assert schemas["PublicJob"]["properties"]["state"] == {"$ref": "#/components/schemas/State"}


def test_models_without_a_document_are_skipped() -> None:
    given: dict[str, Any] = {"paths": {"/v1/one": {"get": {}}}}
    assert document_jobs(given, ["one", "two"]) == given


def _example(operation: dict[str, Any]) -> Any:
    return operation["responses"]["200"]["content"]["application/json"]["example"]
