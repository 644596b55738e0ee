"""What a server may do to a run: be away, be busy, refuse, or answer later."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from sightline.cli.faults import Fault
from sightline.cli.screening.asking import There

Step = tuple[int, dict[str, str], Any]
PROBLEM = {"code": "too_many_bytes", "detail": "The body has too many bytes."}
IDENTITY = {"name": "hra_screening", "version": "1", "weights_sha256": "ab" * 32}


def record(*hashes: str) -> dict[str, Any]:
    return {"results": [{"sha256": each, "decision": "arms"} for each in hashes], "evidence": {"model": IDENTITY}}


class Server(ThreadingHTTPServer):
    """Answers by a script, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Step] = []
        self.asked: list[tuple[str, int, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(0)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(body.count(b'name="image"'))

    def _answer(self, pictures: int) -> None:
        self.server.asked.append((self.path, pictures, self.headers["Authorization"]))
        status, headers, body = self.server.script.pop(0)
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def there(server: Server, pauses: list[float]) -> Iterator[There]:
    asker = There(f"{server.url}/", None, "secret", pauses.append)
    yield asker
    asker.close()


def test_the_model_is_told_by_its_card(server: Server, there: There) -> None:
    server.script = [(200, {}, {"weights": IDENTITY})]
    assert there.model == "hra_screening@1+abababababab"
    assert server.asked == [("/v1/models/hra_screening/card", 0, "Bearer secret")]


def test_a_busy_server_is_asked_again_when_it_says(server: Server, there: There, pauses: list[float]) -> None:
    server.script = [(503, {"Retry-After": "3"}, PROBLEM), (429, {}, PROBLEM), (200, {}, record("a", "b"))]
    assert [each.sha256 for each in there.ask([b"1", b"2"]).results] == ["a", "b"]
    assert pauses[0] == 3.0
    assert 0 < pauses[1] < 3


def test_a_batch_that_is_too_large_is_asked_one_by_one(server: Server, there: There) -> None:
    server.script = [(413, {}, PROBLEM), (200, {}, record("a")), (413, {}, PROBLEM)]
    first, second = there.ask([b"1", b"2"]).results
    assert (first.decision, first.problem) == ("arms", None)
    assert second.problem is not None
    assert second.problem.code == "too_many_bytes"
    assert [pictures for _, pictures, _ in server.asked] == [2, 1, 1]


def test_a_job_is_waited_for(server: Server, there: There, pauses: list[float]) -> None:
    server.script = [
        (202, {"Location": "/v1/jobs/7"}, {}),
        (409, {"Retry-After": "2"}, PROBLEM),
        (200, {}, record("a")),
    ]
    assert there.ask([b"1"]).results[0].sha256 == "a"
    assert [path for path, _, _ in server.asked[1:]] == ["/v1/jobs/7/result"] * 2
    assert pauses == [2.0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_will_not_answer_ends_the_run(server: Server, there: There, status: int) -> None:
    server.script = [(status, {}, PROBLEM)]
    with pytest.raises(Fault, match=f"refused \\({status}\\)"):
        there.ask([b"1", b"2"])


def test_something_else_at_the_address_is_told(server: Server, there: There) -> None:
    server.script = [(200, {}, {"hello": "world"}), (200, {}, [])]
    with pytest.raises(Fault, match="no record of screening"):
        there.ask([b"1"])
    with pytest.raises(Fault, match="no model card"):
        assert there.model
