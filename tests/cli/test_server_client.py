import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.cli import server_client
from sightline.cli.output import CommandError
from sightline.client import Overloaded, SightlineError, Unauthorized, operations
from tests.cli.conftest import PHOTO, PNG_REPLY, predict
from tests.cli.scripted_server import ScriptedServer

PROBLEM = {"code": "overloaded", "detail": "Come back later.", "request_id": "r1"}


@pytest.mark.parametrize("suffix", ["", "/", "/console/", "/docs", "/v1", "/?a=b#c"])
def test_addresses_as_people_paste_them(server: ScriptedServer, tmp_path: Path, suffix: str) -> None:
    server.script = [PNG_REPLY]
    predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", f" {server.url}/prefix{suffix} ")
    assert server.requests[0].path == "/prefix/v1/inpaint"


def test_a_key_comes_from_the_option_or_the_environment(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [PNG_REPLY, PNG_REPLY, PNG_REPLY]
    call = ("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)
    predict(*call)
    monkeypatch.setenv("SIGHTLINE_API_KEY", " from-environment\n")
    predict(*call)
    predict(*call, "--api-key", "from-option")
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == [None, "Bearer from-environment", "Bearer from-option"]


def test_server_problem_is_printed(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = [(503, {"Retry-After": "800"}, PROBLEM)]
    with pytest.raises(Overloaded, match=r"Come back later \(overloaded, request r1\)\. Try again in 800 s"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)
    assert not (tmp_path / "out.png").exists()


def test_an_unknown_model_is_named_whatever_the_refusal_says(server: ScriptedServer, tmp_path: Path) -> None:
    too_large = {"code": "too_many_bytes", "detail": "The request is larger than 65536 bytes."}
    nothing_here = {"code": "not_found", "detail": "There is nothing here."}
    server.script = [(413, {}, too_large), (404, {}, nothing_here), (200, {}, {"models": []})]
    with pytest.raises(CommandError, match="has no model paint"):
        predict("paint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)
    server.script = [(404, {}, nothing_here)] * 3
    with pytest.raises(CommandError, match="wrong is not the address of a fleet"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", f"{server.url}/wrong")
    assert "is not the name of a model" in predict("../x", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)


def test_a_missing_key_is_hinted_at(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = [(401, {}, {"code": "unauthorized", "detail": "A key is needed."})]
    with pytest.raises(Unauthorized, match="SIGHTLINE_API_KEY"):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)


def test_reply_without_problem_details_is_reported(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = [(418, {}, b"<html>\x1b[31ma teapot</html>")]
    arguments = ("predict", "inpaint", str(PHOTO), "-o", str(tmp_path / "out.png"), "--url", server.url)
    done = subprocess.run([sys.executable, "-m", "sightline.cli", *arguments], capture_output=True, text=True)
    assert done.returncode == 4
    assert re.search(r"not Sightline's: 418.*a teapot", done.stderr)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:8080", "does not begin with http"),
        ("ftp://localhost", "does not begin with http"),
        ("", "does not begin with http"),
        ("http://", "no valid host"),
        ("http://a b", "no valid host"),
        ("http://[::1", "no valid address"),
        ("http://a..b", "not valid"),
        ("http://127.0.0.1:99999", "no valid port"),
        ("http://sightline.invalid", "unknown"),
        ("http://127.0.0.1:9", "refused"),
        ("https://127.0.0.1:PORT", "TLS"),
    ],
)
def test_a_wrong_address_is_explained(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises((CommandError, SightlineError), match=reason):
        predict("inpaint", PHOTO, "-o", tmp_path / "o.png", "--url", url.replace("PORT", str(server.server_port)))


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "REPLY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(server_client, "MAX_OUTAGE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SightlineError, match="timed out"):
            predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", url)
