import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers

from services.gateway.auth.api_keys import Caller, KeyRing, KeySettings, read_keys
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.jobs.job import Priority


def settings_of(key: str, **more: object) -> KeySettings:
    return KeySettings.model_validate({"sha256": hashlib.sha256(key.encode()).hexdigest(), **more})


RING = KeyRing({"desk": settings_of("one"), "archive": settings_of("two", priority="bulk", max_running=2)})


def test_without_keys_everybody_is_the_same_caller() -> None:
    assert KeyRing({}).caller(Headers({"Authorization": "Bearer whatever"})) == Caller("public")


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer two"}, {"authorization": "bearer  two "}, {"X-Api-Key": "two"}]
)
def test_finds_the_caller_by_the_key(headers: dict[str, str]) -> None:
    assert RING.caller(Headers(headers)) == Caller("archive", Priority.BULK, 2)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer three"}, {"Authorization": "Basic two"}, {"X-Api-Key": ""}, {"X-Api-Key": "tw\xf6"}],
)
def test_refuses_who_has_no_key(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        RING.caller(Headers(headers))
    assert caught.value.code is Code.UNAUTHORIZED
    assert "three" not in caught.value.detail


def test_a_key_can_be_limited_to_models() -> None:
    settings = settings_of("three", models=["hdr-correct", "hoi"])
    caller = KeyRing({"lab": settings}).caller(Headers({"X-Api-Key": "three"}))
    assert [name for name in ("hdr_correct", "hoi", "inpaint", "HOI") if caller.may_use(name)] == ["hdr_correct", "hoi"]
    with pytest.raises(Problem) as caught:
        caller.require_model("inpaint")
    assert (caught.value.status, caught.value.code) == (403, Code.FORBIDDEN)
    assert caught.value.facts["models"] == ["hdr_correct", "hoi"]
    assert Caller().may_use("inpaint")


@pytest.mark.parametrize("models", [[], "hoi", [1], 3])
def test_a_limit_is_a_list_of_names(models: object) -> None:
    with pytest.raises(ValidationError):
        settings_of("three", models=models)


def test_a_limit_to_a_model_that_is_not_here_is_refused_at_the_start() -> None:
    upstreams = {"hoi": ["http://127.0.0.1:1"]}
    for models, refused in ((["hoi"], False), (["hoi", "hio"], True)):
        keys = {"lab": settings_of("three", models=models)}
        if refused:
            with pytest.raises(ValidationError, match="'lab' is limited to models that are not here: hio"):
                GatewaySettings(upstreams=upstreams, keys=keys)
        else:
            assert GatewaySettings(upstreams=upstreams, keys=keys).all_keys == keys


def test_a_priority_is_the_highest_allowed_unless_another_is_asked_for() -> None:
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


def test_reads_keys_from_the_environment_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two = settings_of("one"), settings_of("two", priority="bulk")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"archive": two.model_dump(mode="json")}))
    monkeypatch.setenv("SIGHTLINE_KEYS", json.dumps({"desk": one.model_dump(mode="json")}))
    monkeypatch.setenv("SIGHTLINE_KEYS_FILE", str(path))
    assert GatewaySettings().all_keys == {"desk": one, "archive": two}
    assert read_keys(path) == {"archive": two}


@pytest.mark.parametrize("key", [{"sha256": "one"}, {"sha256": "ab" * 32, "max_running": 0}, {"key": "one"}])
def test_refuses_keys_that_are_none(key: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KeySettings.model_validate(key)


def test_refuses_one_key_for_two() -> None:
    with pytest.raises(ValueError, match="same digest"):
        KeyRing({"a": settings_of("one"), "b": settings_of("one")})
