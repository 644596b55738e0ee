"""Triton's own client against a real server."""

import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

MakeApp = Callable[..., FastAPI]
Serve = Callable[[ASGIApp], str]
WaitReady = Callable[[str], None]

MODEL = "tiny_invert"


@pytest.fixture
def url(serve: Serve, make_app: MakeApp, wait_ready: WaitReady) -> str:
    base = serve(make_app())
    wait_ready(base)
    return base


@pytest.fixture(scope="module")
def triton() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the client imports is not ours to mend
        return importlib.import_module("tritonclient.http")


@pytest.fixture
def client(url: str, triton: ModuleType) -> Iterator[Any]:
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    yield client
    client.close()


def test_server_is_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1.2.3")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready(MODEL, "9")


def test_metadata_of_server_and_model(client: Any) -> None:
    assert client.get_server_metadata()["name"] == "sightline"
    metadata = client.get_model_metadata(MODEL)
    assert metadata["versions"] == ["1.2.3"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert metadata["outputs"] == [{"name": "inverted", "datatype": "FP32", "shape": [-1, -1, -1, 3]}]
    config = client.get_model_config(MODEL)
    assert (config["max_batch_size"], config["input"][0]["data_type"]) == (8, "TYPE_UINT8")
    assert client.get_model_repository_index() == [
        {"name": MODEL, "version": "1.2.3", "state": "READY", "reason": "ready"}
    ]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("count", [1, 3])
def test_client_infers_tensors(
    client: Any, triton: ModuleType, count: int, binary_in: bool, binary_out: bool | None
) -> None:
    image = np.random.default_rng(3).integers(14, 256, (count, 8, 8, 3), np.uint8)
    sent = triton.InferInput("image", list(image.shape), "UINT8")
    sent.set_data_from_numpy(image, binary_data=binary_in)
    wanted = None if binary_out is None else [triton.InferRequestedOutput("inverted", binary_data=binary_out)]
    result = client.infer(MODEL, [sent], outputs=wanted, request_id="7")
    np.testing.assert_allclose(result.as_numpy("inverted"), 1 - image / 255, atol=1e-6)
    assert result.get_response()["id"] == "7"


def test_client_reads_the_text_of_a_refusal(client: Any, triton: ModuleType) -> None:
    sent = triton.InferInput("image", [1, 5, 5, 3], "UINT8")
    sent.set_data_from_numpy(np.zeros((1, 5, 5, 3), np.uint8))
    with pytest.raises(Exception, match="match no size") as caught:
        client.infer(MODEL, [sent])
    assert vars(caught.value)["_status"] == "400"
    with pytest.raises(Exception, match="no such model"):
        client.get_model_metadata("other")


def infer_body(**changes: Any) -> bytes:
    tensor = {"name": "image", "shape": [1, 8, 8, 3], "datatype": "UINT8", "data": [50] * 192, **changes}
    return json.dumps({"inputs": [tensor]}).encode()


def test_reply_names_the_weights(url: str) -> None:
    reply = httpx2.post(f"{url}/v2/models/{MODEL}/versions/1.2.3/infer", content=infer_body())
    assert reply.json()["outputs"][0]["data"] == pytest.approx([205 / 255] * 192)
    assert reply.headers["x-sightline-model"].startswith("tiny_invert@1.2.3+")
    assert "infer;dur=" in reply.headers["server-timing"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"null", {}, 400),
        (infer_body(datatype="FP32"), {}, 400),
        (infer_body(name="photo"), {}, 400),
        (infer_body(shape=[9, 8, 8, 3], data=[1] * 1728), {}, 400),
        (infer_body(), {"Inference-Header-Content-Length": "1e3"}, 400),
        (infer_body(), {"Inference-Header-Content-Length": "99999999"}, 400),
        (infer_body(), {"Content-Encoding": "gzip"}, 415),
        (infer_body(), {"X-Sightline-Deadline-Ms": "0"}, 504),
    ],
)
def test_refusal_is_a_problem_with_an_error_member(
    url: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    reply = httpx2.post(f"{url}/v2/models/{MODEL}/infer", content=content, headers=headers)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["error"] == reply.json()["detail"]


def test_server_without_a_model_is_not_ready(serve: Serve, make_app: MakeApp, triton: ModuleType) -> None:
    client = triton.InferenceServerClient(
        serve(make_app(providers="cuda", on_fatal=lambda: None)).removeprefix("http://")
    )
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert not client.is_model_ready(MODEL)
    client.close()
