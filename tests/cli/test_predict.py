import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen, run

import psutil
import pytest

from sightline.cli import server_client
from sightline.cli.output import CommandError
from sightline.client import SightlineError, Unreadable, operations
from tests.cli.conftest import MASK, PHOTO, PNG, PNG_REPLY, predict
from tests.cli.scripted_server import ScriptedServer, Step
from tests.imaging import hostile

Start = Callable[..., "Popen[str]"]
Eventually = Callable[[Callable[[], object]], None]


def job(state: str, **more: object) -> dict[str, object]:
    return {"id": "7", "state": state, **more}


@pytest.mark.parametrize("model", ["hdr_correct", "hdr-correct"])
def test_suffix_of_the_output_sets_the_accepted_media_type(server: ScriptedServer, tmp_path: Path, model: str) -> None:
    server.script = [(200, {"Content-Type": "image/webp"}, b"RIFF....WEBP")]
    out = tmp_path / "out.webp"
    predict(model, PHOTO, "-o", out, "--option", "strength=0.5", "--url", server.url)
    (request,) = server.requests
    assert (request.path, request.headers["Accept"]) == ("/v1/hdr-correct", "image/webp")
    assert PHOTO.read_bytes() in request.body
    assert b'name="strength"\r\n\r\n0.5' in request.body
    assert out.read_bytes() == b"RIFF....WEBP"
    assert list(tmp_path.iterdir()) == [out]


def test_mask_is_sent_with_the_picture(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = [PNG_REPLY]
    predict("inpaint", PHOTO, "--mask", MASK, "-o", tmp_path / "out.png", "--url", f"{server.url}/")
    assert MASK.read_bytes() in server.requests[0].body


def test_job_of_a_large_picture_is_polled_to_its_result(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "POLL_PAUSE_S", 0.01)
    monkeypatch.setattr(operations, "FIRST_PAUSE_S", 0.01)
    server.script = [
        (202, {"Location": "http://127.0.0.1:9/v1/jobs/evil"}, job("queued", position=2, eta_s=14.2)),
        (200, {}, job("queued", position=1, eta_s=7)),
        (503, {}, b"<html>starting</html>"),
        (200, {}, job("running", progress={"stage": "infer", "share": 0.4})),
        (200, {}, job("succeeded")),
        PNG_REPLY,
    ]
    output = predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url, "--api-key", "k")
    assert (tmp_path / "out.png").read_bytes() == PNG
    assert {request.path for request in server.requests[1:]} == {"/v1/jobs/7", "/v1/jobs/7/result"}
    assert all(request.headers["Authorization"] == "Bearer k" for request in server.requests)
    assert server.requests[-1].headers["Accept"] == "image/png"
    for part in ("queued, position 2 in the queue, about 14 s left", "running (infer, 40%)", "Trying again"):
        assert part in output


@pytest.mark.parametrize(
    "reply",
    [
        (200, {"Content-Type": "application/json"}, {"id": "7"}),
        (200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
        (200, {"Content-Type": "image/png"}, b"<html>log in</html>"),
        (200, {"Content-Type": "image/png"}, b""),
        (200, {}, PNG),
        (204, {"Content-Type": "image/png"}, b""),
        (206, {"Content-Type": "image/png"}, PNG),
        (404, {"Content-Type": "image/png"}, PNG),
        (307, {"Location": "http://localhost:9/v1/inpaint"}, PNG),
        (202, {"Content-Type": "image/png"}, PNG),
        (202, {}, {"id": "../../secrets", "state": "succeeded"}),
        (200, {"Content-Type": "image/png", "Content-Length": "1000"}, PNG),
    ],
    ids=lambda reply: f"{reply[0]}-{reply[1].get('Content-Type', '')}-{reply[2]!r:.12}",
)
def test_reply_that_is_not_a_result_is_not_written(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Step
) -> None:
    monkeypatch.setattr(server_client, "MAX_OUTAGE_S", 0.0)
    server.script = [reply, (200, {}, {"the card": "of a model"})]
    (tmp_path / "out.png").write_bytes(b"from an earlier run")
    with pytest.raises((CommandError, SightlineError)):
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"from an earlier run"]
    assert sum(request.method == "POST" for request in server.requests) == 1


def test_failed_job_raises_the_problem_of_its_result(server: ScriptedServer, tmp_path: Path) -> None:
    problem = {"code": "unreadable_image", "detail": "The picture ends too early.", "request_id": "r9"}
    server.script = [(202, {}, {**job("failed"), "problem": problem})]
    with pytest.raises(Unreadable, match=r"ends too early.*unreadable_image, request r9") as caught:
        predict("inpaint", PHOTO, "-o", tmp_path / "out.png", "--url", server.url)
    assert (caught.value.code, caught.value.request_id) == ("unreadable_image", "r9")


def test_ctrl_c_cancels_the_job(server: ScriptedServer, tmp_path: Path, started: Start, eventually: Eventually) -> None:
    server.script = [(202, {}, job("queued")), *[(200, {}, job("running"))] * 1000]
    arguments = ("predict", "inpaint", str(PHOTO), "-o", str(tmp_path / "out.png"), "--url", server.url)
    process = started(sys.executable, "-m", "sightline.cli", *arguments, stdout=PIPE, stderr=PIPE)
    eventually(lambda: len(server.requests) > 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, server.requests[-1].method, server.requests[-1].path) == (130, "DELETE", "/v1/jobs/7")
    assert "Cancelled job 7" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_unwritable_output_is_refused_before_the_request(server: ScriptedServer, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(PHOTO.read_bytes())
    (tmp_path / "folder.png").mkdir()
    for out, reason in [("no/where/out.png", "no folder"), ("folder.png", "is a folder"), ("photo.jpg", "the input")]:
        with pytest.raises(CommandError, match=reason):
            predict("inpaint", photo, "-o", tmp_path / out, "--url", server.url)
    assert server.requests == []
    assert photo.read_bytes() == PHOTO.read_bytes()


def test_ctrl_c_ends_the_decoding_of_a_hostile_picture(tmp_path: Path, started: Start, eventually: Eventually) -> None:
    (tmp_path / "hostile.png").write_bytes(hostile.png(surplus_mb=50_000))
    arguments = ("predict", "hra_screening", str(tmp_path / "hostile.png"), "-o", str(tmp_path / "out.json"))
    environment = {"SIGHTLINE_PROVIDERS": "cpu", "SIGHTLINE_MAX_DECODE_S": "600"}
    process = started(sys.executable, "-m", "sightline.cli", *arguments, env=environment, stdout=PIPE, stderr=PIPE)
    decoders: list[psutil.Process] = []

    def is_decoding() -> bool:
        decoders[:] = psutil.Process(process.pid).children(recursive=True)
        return len(decoders) > 1  # the fork server and its child

    eventually(is_decoding)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (130, "")
    assert errors == "sightline: interrupted; nothing was written. Run the same command again\n"
    eventually(lambda: not any(decoder.is_running() for decoder in decoders))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inpaint", PHOTO, "-o", "out.bmp"], ".bmp"),
        (["inpaint", PHOTO, "-o", "out.png", "--option", "format"], "NAME=VALUE"),
        (["paint", PHOTO, "-o", "out.png"], "inpaint"),
        (["inpaint", PHOTO], "-o"),
    ],
    ids=["suffix", "option", "model", "output"],
)
def test_mistakes_on_the_command_line_are_explained(arguments: list[object], message: str) -> None:
    assert message in predict(*arguments)


def test_json_is_one_document_with_the_record(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    facts = json.loads(predict("hdr-correct", PHOTO, "-o", out, "--json"))
    assert (facts["model"], facts["out"], facts["size_bytes"]) == ("hdr_correct", str(out), out.stat().st_size)
    assert (
        facts["record"]["exposure"]["before"]["clipped_share"] > facts["record"]["exposure"]["after"]["clipped_share"]
    )
    assert facts["request_id"] == facts["record"]["evidence"]["request_id"]


def test_photo_and_result_pass_through_pipes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sightline.cli", "predict", "hdr-correct", "-", "-o", "-", "--format", "webp"]
    done = run(command, input=PHOTO.read_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout[:4] + done.stdout[8:12] == b"RIFFWEBP"
    assert b"mean luminance" in done.stderr


def test_picture_is_not_written_to_a_terminal() -> None:
    reading, terminal = os.openpty()
    command = [sys.executable, "-m", "sightline.cli", "predict", "hdr-correct", str(PHOTO), "-o", "-"]
    done = run(command, stdout=terminal, stderr=PIPE)
    os.close(terminal)
    os.close(reading)
    assert (done.returncode, b"redirect it" in done.stderr) == (2, True)
