"""The gateway's own routes."""

import subprocess
import sys
from pathlib import Path

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel

from sightline.api.problems import Code
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start, plain_png

ROOT = Path(__file__).parents[3]


def test_starting_the_gateway_imports_no_package_of_the_services() -> None:
    code = "import sys, sightline.http.__main__, services.gateway.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "services.gateway.app" in imported
    assert not imported & {"numpy", "onnxruntime", "PIL", "torch", "sightline.serving", "sightline.inference"}


def test_unknown_paths_and_models_are_not_found_with_the_known_ones(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    gateway = open_gateway({"hra_screening": [start(make_service(model="hra_screening")).url]})
    reply = httpx2.post(f"{gateway.url}/v1/inpaint")
    assert (reply.status_code, reply.json()["code"]) == (404, Code.NOT_FOUND)
    assert reply.json()["routes"] == ["/v1/hra-screening"]
    assert reply.headers["content-type"] == "application/problem+json"
    for path in ("/v1/models/inpaint", "/v1/models/inpaint/card", "/v2/models/inpaint", "/v2/models/inpaint/ready"):
        reply = httpx2.get(gateway.url + path)
        assert (reply.status_code, reply.json()["models"]) == (404, ["hra_screening"])


def test_wrong_method_is_a_problem(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    reply = httpx2.post(f"{gateway.url}/v1/models")
    assert (reply.status_code, reply.json()["code"]) == (405, Code.METHOD_NOT_ALLOWED)


def test_openapi_document_merges_the_services_documents(
    start: Start, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    class Options(BaseModel):
        strength: float

    def service(model: str) -> FastAPI:
        app = FastAPI(title=model, description=f"What {model} does")

        @app.get("/readyz")
        async def readyz() -> dict[str, str]:
            return {}

        @app.post(f"/v1/{model}")
        async def predict(options: Options) -> None: ...

        return app

    gateway = open_gateway({"one": [start(service("one")).url], "two": [start(service("two")).url]})
    document = httpx2.get(f"{gateway.url}/openapi.json").json()
    assert {"/v1/one", "/v1/two", "/v1/models", "/v2/health/ready"} <= set(document["paths"])
    assert document["paths"]["/v1/two"]["post"]["tags"] == ["two"]
    assert {tag["name"]: tag["description"] for tag in document["tags"]}["two"] == "What two does"
    assert list(document["components"]["schemas"]).count("Options") == 1


def test_docs_page_needs_no_internet(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    page = httpx2.get(f"{gateway.url}/docs").text
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f'"docs/assets/{asset}"' in page
        assert httpx2.get(f"{gateway.url}/docs/assets/{asset}").status_code == 200


def test_docs_assets_url_is_configurable(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, docs_assets_url="https://assets.example/ui/")
    assert "https://assets.example/ui/swagger-ui.css" in httpx2.get(f"{gateway.url}/docs").text


def test_real_service_is_reached_described_and_documented(
    start: Start, open_gateway: OpenGateway, inverting_service: FastAPI
) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]})
    reply = httpx2.post(f"{gateway.url}/v1/tiny-invert", files={"image": plain_png()})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png"), reply.text
    assert reply.headers["x-sightline-model"].startswith("tiny_invert@1.2.3+")
    model = httpx2.get(f"{gateway.url}/v1/models/tiny_invert").json()
    assert (model["title"], model["version"], model["ready_replicas"]) == ("Inversion", "1.2.3", 1)
    assert model["provider"] == "CPUExecutionProvider"
    assert httpx2.get(gateway.url + model["card"]).text == "# Inversion\n"
    paths = httpx2.get(f"{gateway.url}/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/v1/tiny-invert"]["post"]["requestBody"]["content"]
    assert {"/v1/models/{model}/card", "/v2/models/{model}/infer"} <= set(paths)
