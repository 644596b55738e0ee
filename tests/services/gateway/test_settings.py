import json

import pytest
from pydantic import ValidationError

from services.gateway.settings import GatewaySettings


def test_upstreams_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_UPSTREAMS", json.dumps({"hra_screening": ["http://127.0.0.1:9001/"]}))
    assert GatewaySettings().upstreams == {"hra_screening": ["http://127.0.0.1:9001"]}


@pytest.mark.parametrize(
    "upstreams",
    [
        {"inpaint": []},
        {"inpaint": ["localhost:9001"]},
        {"Inpaint/x": ["http://a"]},
        {"models": ["http://a"]},
        {"webhooks": ["http://a"]},
    ],
    ids=["no replica", "no scheme", "no name", "the gateway's own route", "another of them"],
)
def test_invalid_upstreams_are_refused(upstreams: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(upstreams=upstreams)


def test_default_deadline_over_the_maximum_is_refused() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(deadline_s=10, max_deadline_s=5)


def test_max_job_bytes_below_max_bytes_is_refused() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(max_bytes=10, max_job_bytes=5)


def test_models_and_model_url_are_a_short_form_of_upstreams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", "inpaint,hdr-correct")
    monkeypatch.setenv("SIGHTLINE_UPSTREAMS", '{"inpaint": ["http://10.0.0.1:8000"]}')
    assert GatewaySettings().upstreams == {
        "hdr_correct": ["dns+http://hdr-correct:8000"],
        "inpaint": ["http://10.0.0.1:8000"],
    }
