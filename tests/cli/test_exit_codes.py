import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli.app import build_app, execute
from sightline.cli.exit_codes import MEANINGS, ExitCode, exit_code_of, exit_code_table
from sightline.cli.fleet import free_port
from sightline.cli.output import CommandError
from sightline.client import NotSightline, Overloaded, RateLimited, TooLarge, Unauthorized, Unreadable
from tests.cli.conftest import MASK, PHOTO
from tests.cli.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]


def test_every_code_has_a_meaning_in_the_help() -> None:
    assert set(MEANINGS) == set(ExitCode)
    shown = CliRunner().invoke(build_app(), ["--help"]).output
    for line in exit_code_table().splitlines():
        assert line.strip() in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("no"), ExitCode.FAILED),
        (CommandError("no", ExitCode.USAGE), ExitCode.USAGE),
        (Unauthorized("no"), ExitCode.REFUSED),
        (Overloaded("no"), ExitCode.UNREACHABLE),
        (RateLimited("no"), ExitCode.UNREACHABLE),
        (NotSightline("no"), ExitCode.UNREACHABLE),
        (TooLarge("no"), ExitCode.BAD_INPUT),
        (Unreadable("no"), ExitCode.BAD_INPUT),
    ],
    ids=str,
)
def test_error_has_the_code_of_its_class(error: Exception, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def wrong_calls() -> list[tuple[ExitCode, str, str]]:
    """Returns calls with their exit code and a part of their message; NOTE stands for a file that is no picture."""
    photo, mask, usage, bad = PHOTO, MASK, ExitCode.USAGE, ExitCode.BAD_INPUT
    return [
        (usage, "predikt", "Did you mean 'predict'?"),
        (usage, "weights lst", "Did you mean 'list'?"),
        (usage, "predict", "Missing argument"),
        (usage, f"predict hdr-corect {photo} -o out.png", "did you mean hdr_correct?"),
        (usage, f"predict HOY {photo}", "did you mean hoi?"),
        (usage, "predict hoi missing.jpg", "there is no file missing.jpg"),
        (usage, "predict hoi .", ". is a folder"),
        (usage, f"predict inpaint {photo} --mask missing.png -o out.png", "there is no file missing.png"),
        (usage, f"predict inpaint {photo}", "name the output file with -o"),
        (usage, f"predict inpaint {photo} -o out.bmp", ".png"),
        (usage, f"predict hoi {photo} -o out.hdr", "one of .png"),
        (usage, f"predict inpaint {photo} -o no/folder/out.png", "there is no folder no/folder"),
        (usage, f"predict hoi {photo} -o - --json", "choose one"),
        (usage, "predict inpaint - --mask - -o out.png", "only one of photo and mask"),
        (usage, f"predict hoi {photo} {photo}", "unexpected extra argument"),
        (usage, f"predict hoi {photo} --option max_people", "NAME=VALUE"),
        (usage, f"predict hoi {photo} --option max_peple=3", "did you mean max_people?"),
        (usage, f"predict hoi {photo} --mask {mask}", "takes no picture 'mask'"),
        (bad, f"predict hoi {photo} --option max_people=-1", "max_people=-1"),
        (bad, f"predict inpaint {photo} --mask {mask} -o out.png --option method=netwerk", "did you mean network?"),
        (bad, "predict hoi -", "standard input is empty"),
        (bad, "predict hoi NOTE", "NOTE"),
        (bad, f"predict inpaint {photo} -o out.png", "mask"),
        (usage, f"predict hoi {photo} --url localhost:notaport", "notaport"),
        (ExitCode.FAILED, "jobs list --state nowhere", "no fleet is running"),
        (ExitCode.UNREACHABLE, "jobs list --redis redis://127.0.0.1:PORT", "cannot be reached"),
        (ExitCode.FAILED, "jobs list --redis http://127.0.0.1", "redis"),
        (usage, "jobs retry", "give either job ids or a model"),
        (usage, "jobs list --status runing", "running"),
        (usage, "jobs list --limit many", "many"),
        (usage, "screen missing", "there is no folder"),
        (ExitCode.FAILED, "screen empty -o out", "there are no pictures"),
        (usage, "batch hoy empty -o out", "did you mean hoi?"),
        (usage, "batch hoi empty", "--out"),
        (ExitCode.FAILED, "batch hoi empty -o out", "there are no pictures"),
        (usage, "up hoy", "did you mean hoi?"),
        (usage, "up --port 99999", "65535"),
        (usage, "doctor inpant", "did you mean inpaint?"),
        (usage, "bench svbdrf", "did you mean svbrdf?"),
        (ExitCode.FAILED, "weights get resnet5", "did you mean"),
        (usage, "weights use", "give either"),
        (ExitCode.FAILED, "weights verify nothing-here", "nothing-here"),
        (usage, "evidence verfy", "Did you mean 'verify'?"),
        (usage, "data fetch nothing out --from .", "there is no manifest nothing"),
    ]


@pytest.mark.parametrize(("code", "call", "message"), wrong_calls(), ids=lambda each: str(each).replace(str(ROOT), ""))
def test_wrong_call_has_one_sentence_and_its_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    code: ExitCode,
    call: str,
    message: str,
) -> None:
    (tmp_path / "NOTE").write_text("no picture")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        found = execute(call.replace("PORT", str(free_port())).split())
    shown = capfd.readouterr()
    assert (found, shown.out) == (code, ""), shown.err
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1, shown.err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("status", "problem", "code"),
    [
        (401, "unauthorized", ExitCode.REFUSED),
        (403, "forbidden", ExitCode.REFUSED),
        (413, "too_many_pixels", ExitCode.BAD_INPUT),
        (400, "unreadable_image", ExitCode.BAD_INPUT),
        (404, "not_found", ExitCode.UNREACHABLE),
    ],
)
def test_problem_of_a_fleet_is_shown_with_code_and_request(
    server: ScriptedServer, capfd: pytest.CaptureFixture[str], status: int, problem: str, code: ExitCode
) -> None:
    details = {"code": problem, "detail": "The reason.", "request_id": "r7"}
    server.script = [(status, {}, details)] * 3
    found = execute(["predict", "hoi", str(PHOTO), "--url", server.url])
    shown = capfd.readouterr()
    assert (found, shown.out) == (code, "")
    assert len(shown.err.splitlines()) == 1
    if code is not ExitCode.UNREACHABLE:
        assert f"The reason ({problem}, request r7)" in shown.err


@pytest.mark.parametrize("call", ["screen empty -o out", "batch hoi empty -o out", f"predict hoi {PHOTO}"])
def test_fleet_that_is_down_has_its_code_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], call: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    found = execute([*call.split(), "--url", f"http://127.0.0.1:{free_port()}"])
    assert (found, "Check the address" in capfd.readouterr().err) == (ExitCode.UNREACHABLE, True)
