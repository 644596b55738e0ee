import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from subprocess import PIPE, Popen

import pytest
from typer.testing import CliRunner

from sightline.cli.app import build_app
from sightline.cli.training import ACTIONS, trainable_models


def test_a_folder_with_jobs_can_be_trained() -> None:
    assert "inpaint" in trainable_models()


@pytest.mark.parametrize("action", ACTIONS)
def test_jobs_are_commands_with_their_options(action: str) -> None:
    result = CliRunner().invoke(build_app(action), [action, "inpaint", "--help"])
    assert result.exit_code == 0, result.output
    assert "inpaint" in result.output


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("model", ["hra_screening", "hra-screening"])
def test_a_model_may_be_spelled_as_in_urls(action: str, model: str) -> None:
    assert CliRunner().invoke(build_app(action), [action, model, "--help"]).exit_code == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_says_which_extra_is_missing(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch(name: str) -> ModuleSpec | None:
        return None if name == "torch" else find_spec(name)

    monkeypatch.setattr("sightline.cli.training.importlib.util.find_spec", without_torch)
    result = CliRunner().invoke(build_app(action), [action, "inpaint", "photos", "--hours", "1"])
    assert result.exit_code == 1
    assert "sightline[train]==" in result.output


def test_torch_is_imported_for_training_alone(started: Callable[..., "Popen[str]"]) -> None:
    code = "import sys; from sightline.cli.app import build_app; build_app('up'); print('torch' in sys.modules)"
    assert started(sys.executable, "-c", code, stdout=PIPE).communicate(timeout=60)[0] == "False\n"
