from collections.abc import Callable

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from sightline.inference.weights import Weights

MakeApp = Callable[..., FastAPI]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def url(serve: Serve, make_app: MakeApp) -> str:
    return serve(make_app()) + "/v1/models"


def test_card_is_markdown_by_default(url: str) -> None:
    reply = httpx2.get(f"{url}/tiny_invert/card")
    assert reply.headers["content-type"].startswith("text/markdown")
    assert reply.text == "# Inversion\n"


def test_card_is_found_by_the_spelling_of_the_route(url: str) -> None:
    assert httpx2.get(f"{url}/tiny-invert/card").text == "# Inversion\n"


def test_card_as_json_names_the_loaded_weights(url: str, tiny_weights: Weights) -> None:
    card = httpx2.get(f"{url}/tiny_invert/card", headers={"Accept": "application/json"}).json()
    assert card["weights"] == {
        "name": "tiny_invert",
        "version": "1.2.3",
        "weights_sha256": tiny_weights.sha256,
        "contract": "shipped",
        "detector": None,
    }
    assert (card["card"], card["route"]) == ("# Inversion\n", "/v1/tiny-invert")


def test_card_of_another_model_is_not_found(url: str) -> None:
    reply = httpx2.get(f"{url}/other/card")
    assert (reply.status_code, reply.json()["code"], reply.json()["models"]) == (404, "not_found", ["tiny_invert"])
