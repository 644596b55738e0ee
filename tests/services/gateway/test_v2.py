"""The Open Inference Protocol with Triton's client, through the gateway to a real service."""

from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from tests.services.gateway.conftest import OpenGateway, Server, Start

MODEL = "tiny_invert"


@pytest.fixture
def gateway(start: Start, open_gateway: OpenGateway, inverting_service: FastAPI) -> Server:
    return open_gateway({MODEL: [start(inverting_service).url]})


@pytest.fixture
def client(gateway: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        yield client


def test_server_metadata_and_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "sightline"


def test_repository_index_lists_the_models(client: triton.InferenceServerClient) -> None:
    assert client.get_model_repository_index() == [{"name": MODEL, "version": "1.2.3", "state": "READY", "reason": ""}]


def test_model_metadata_by_name(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready(MODEL)
    assert not client.is_model_ready("another")
    assert [tensor["name"] for tensor in client.get_model_metadata(MODEL)["inputs"]] == ["image"]


@pytest.mark.parametrize("binary", [True, False])
def test_inference_with_the_official_client(client: triton.InferenceServerClient, binary: bool) -> None:
    image = np.full((1, 8, 8, 3), 50, np.uint8)
    asked = triton.InferInput("image", list(image.shape), "UINT8")
    asked.set_data_from_numpy(image, binary_data=binary)
    wanted = [triton.InferRequestedOutput("inverted", binary_data=binary)]
    reply = client.infer(MODEL, [asked], outputs=wanted)
    np.testing.assert_allclose(reply.as_numpy("inverted"), 205 / 255, atol=1e-6)


@pytest.mark.parametrize(
    "ask",
    [lambda client: client.get_model_metadata("another"), lambda client: client.infer(MODEL, [])],
    ids=["the gateway's own", "the service's"],
)
def test_official_client_parses_errors(
    client: triton.InferenceServerClient, ask: Callable[[triton.InferenceServerClient], object]
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(client)
    assert caught.value.status() in ("404", "400")
    assert "exception occurred in the client" not in str(caught.value)


def test_repository_index_of_ready_models_only(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"absent": ["http://127.0.0.1:9"]}, wait=False)
    url = f"{gateway.url}/v2/repository/index"
    (entry,) = httpx2.post(url).json()
    assert (entry["name"], entry["state"]) == ("absent", "UNAVAILABLE")
    assert httpx2.post(url, json={"ready": True}).json() == []
