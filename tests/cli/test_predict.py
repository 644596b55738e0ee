import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from sightline.cli.faults import Fault
from sightline.cli.main import build_app

SAMPLES = Path(__file__).parents[2] / "samples"
PHOTO, MASK = SAMPLES / "photo.jpg", SAMPLES / "mask.png"


class Gateway(ThreadingHTTPServer):
    """Remembers what it was sent and answers what it is told to."""

    status, body = 200, b"a picture"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.path, self.accept, self.received = "", "", b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.server.path, self.server.accept = self.path, self.headers["Accept"]
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal clean."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def predict(*arguments: object) -> str:
    result = CliRunner().invoke(build_app(), ["predict", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_asks_a_server_for_the_format_of_the_suffix(gateway: Gateway, tmp_path: Path) -> None:
    out = tmp_path / "out.webp"
    predict("hdr_correct", PHOTO, "-o", out, "--option", "strength=0.5", "--url", gateway.url)
    assert (gateway.path, gateway.accept) == ("/v1/hdr-correct", "image/webp")
    assert PHOTO.read_bytes() in gateway.received
    assert b'name="strength"\r\n\r\n0.5' in gateway.received
    assert out.read_bytes() == b"a picture"


def test_sends_the_mask_along(gateway: Gateway, tmp_path: Path) -> None:
    predict("inpaint", PHOTO, "--mask", MASK, "-o", tmp_path / "out.png", "--url", f"{gateway.url}/")
    assert MASK.read_bytes() in gateway.received


def test_tells_what_the_server_says_of_the_problem(gateway: Gateway, tmp_path: Path) -> None:
    gateway.status, gateway.body = 503, json.dumps({"detail": "Come back later."}).encode()
    with pytest.raises(Fault, match=r"503.*Come back later"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", gateway.url)
    assert not (tmp_path / "out.png").exists()


def test_tells_of_an_answer_that_is_no_problem_details(gateway: Gateway, tmp_path: Path) -> None:
    gateway.status, gateway.body = 502, b"<html>bad gateway</html>"
    with pytest.raises(Fault, match="bad gateway"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", gateway.url)


def test_tells_that_nobody_answers(tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.server_close()
    with pytest.raises(Fault, match="no answer"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", gateway.url)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["inpaint", PHOTO, "-o", "out.bmp"], ".bmp"),
        (["inpaint", PHOTO, "-o", "out.png", "--option", "format"], "NAME=VALUE"),
        (["paint", PHOTO, "-o", "out.png"], "inpaint"),
        (["inpaint", "missing.jpg", "-o", "out.png"], "missing.jpg"),
    ],
    ids=["suffix", "option", "model", "photo"],
)
def test_mistakes_on_the_command_line_are_explained(arguments: list[object], complaint: str) -> None:
    assert complaint in predict(*arguments)
