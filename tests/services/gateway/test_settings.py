import json

import pytest
from pydantic import ValidationError

from services.gateway.settings import GatewaySettings


def test_reads_the_upstreams_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_refuses_upstreams_that_could_not_work(upstreams: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(upstreams=upstreams)


def test_refuses_a_default_deadline_over_the_longest() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(deadline_s=10, max_deadline_s=5)


def test_refuses_a_limit_for_jobs_below_the_usual_one() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(max_bytes=10, max_job_bytes=5)


def test_models_that_are_reached_alike_are_named_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", "inpaint,hdr-correct")
    monkeypatch.setenv("SIGHTLINE_UPSTREAMS", '{"inpaint": ["http://10.0.0.1:8000"]}')
    assert GatewaySettings().upstreams == {
        "hdr_correct": ["dns+http://hdr-correct:8000"],
        "inpaint": ["http://10.0.0.1:8000"],
    }
