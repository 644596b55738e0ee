"""What a server may do to a run: be away, be busy, refuse, or answer later."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from sightline.cli.interruption import StopRequest
from sightline.cli.output import CommandError
from sightline.cli.screening.clients import RemoteClient, StopRequestedError, stoppable_pause
from tests.cli.scripted_server import ScriptedServer, Step

PROBLEM = {"code": "too_many_bytes", "detail": "The body has too many bytes."}
IDENTITY = {"name": "hra_screening", "version": "1", "weights_sha256": "ab" * 32}


def record(*hashes: str) -> dict[str, Any]:
    return {"results": [{"sha256": each, "decision": "arms"} for each in hashes], "evidence": {"model": IDENTITY}}


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def there(server: ScriptedServer, pauses: list[float], notes: list[str]) -> Iterator[RemoteClient]:
    client = RemoteClient(f"{server.url}/", None, "secret", pauses.append, notes.append)
    yield client
    client.close()


def test_the_model_is_told_by_its_card(server: ScriptedServer, there: RemoteClient) -> None:
    server.script = [(200, {}, {"weights": IDENTITY})]
    assert there.model == "hra_screening@1+abababababab"
    (request,) = server.requests
    assert (request.path, request.headers["Authorization"]) == ("/v1/models/hra_screening/card", "Bearer secret")


def test_a_busy_server_is_asked_again_when_it_says(
    server: ScriptedServer, there: RemoteClient, pauses: list[float]
) -> None:
    server.script = [(503, {"Retry-After": "3"}, PROBLEM), (429, {}, PROBLEM), (200, {}, record("a", "b"))]
    assert [each.sha256 for each in there.screen([b"1", b"2"]).results] == ["a", "b"]
    assert 3.0 <= pauses[0] < 4
    assert 0 < pauses[1] < 3


def test_a_batch_that_is_too_large_is_asked_one_by_one(server: ScriptedServer, there: RemoteClient) -> None:
    server.script = [(413, {}, PROBLEM), (200, {}, record("a")), (413, {}, PROBLEM)]
    first, second = there.screen([b"1", b"2"]).results
    assert (first.decision, first.problem) == ("arms", None)
    assert second.problem is not None
    assert second.problem.code == "too_many_bytes"
    assert [request.pictures for request in server.requests] == [2, 1, 1]


def test_a_job_is_waited_for_however_long_it_is_queued(
    server: ScriptedServer, there: RemoteClient, pauses: list[float]
) -> None:
    queued: Step = (200, {}, {"id": "7", "state": "queued", "position": 3})
    server.script = [
        (202, {"Location": "http://127.0.0.2:9/v1/jobs/8"}, {"id": "7", "state": "queued"}),
        *[queued] * 20,
        (503, {"Retry-After": "2"}, PROBLEM),
        (200, {}, {"id": "7", "state": "succeeded"}),
        (200, {}, record("a")),
    ]
    assert there.screen([b"1"]).results[0].sha256 == "a"
    assert [request.path for request in server.requests[1:]] == [*["/v1/jobs/7"] * 22, "/v1/jobs/7/result"]
    assert max(pauses[:-1]) >= 2


@pytest.mark.parametrize(
    ("state", "code"), [("dead", "upstream_failed"), ("cancelled", "cancelled"), ("failed", "bad")]
)
def test_a_job_without_a_result_is_its_pictures_trouble(
    server: ScriptedServer, there: RemoteClient, pauses: list[float], state: str, code: str
) -> None:
    server.script = [(202, {}, {"id": "7", "state": state, "problem": {"code": code, "detail": "It ended."}})]
    (answer,) = there.screen([b"1"]).results
    assert answer.problem is not None
    assert answer.problem.code == code
    assert pauses == []


def test_a_job_that_its_server_lost_is_submitted_again(server: ScriptedServer, there: RemoteClient) -> None:
    server.script = [
        (202, {}, {"id": "7", "state": "queued"}),
        (404, {}, {"code": "not_found", "detail": "RemoteClient is no such job."}),
        (200, {}, record("a")),
        (200, {}, record("b")),
    ]
    assert [each.sha256 for each in there.screen([b"1", b"2"]).results] == ["a", "b"]


def test_a_stop_cancels_the_job_that_is_waited_for(server: ScriptedServer) -> None:
    stop = StopRequest()
    stop.request()
    client = RemoteClient(server.url, None, None, stoppable_pause(stop), lambda _: None)
    server.script = [(202, {}, {"id": "7", "state": "queued"}), (200, {}, {})]
    with closing(client), pytest.raises(StopRequestedError):
        client.screen([b"1"])
    assert [request.path for request in server.requests] == ["/v1/hra-screening", "/v1/jobs/7"]


def test_an_outage_is_reported_once(server: ScriptedServer, there: RemoteClient, notes: list[str]) -> None:
    server.script = [(503, {}, PROBLEM), (503, {}, PROBLEM), (200, {}, record("a"))]
    there.screen([b"1"])
    assert len(notes) == 2
    assert "Trying again" in notes[0]
    assert "answers again" in notes[1]


def test_no_redirect_is_followed(server: ScriptedServer, there: RemoteClient) -> None:
    server.script = [(307, {"Location": f"{server.url.replace('127.0.0.1', 'localhost')}/elsewhere"}, {})] * 2
    with pytest.raises(CommandError, match="redirects to"):
        there.screen([b"1"])
    with pytest.raises(CommandError, match="redirects to"):
        assert there.model
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_will_not_answer_ends_the_run(server: ScriptedServer, there: RemoteClient, status: int) -> None:
    server.script = [(status, {}, PROBLEM)]
    with pytest.raises(CommandError, match="The body has too many bytes"):
        there.screen([b"1", b"2"])


def test_server_that_is_not_sightline_is_reported(server: ScriptedServer, there: RemoteClient) -> None:
    server.script = [(200, {}, {"hello": "world"}), (200, {}, [])]
    with pytest.raises(CommandError, match="not a screening record"):
        there.screen([b"1"])
    with pytest.raises(CommandError, match="not a model card"):
        assert there.model
