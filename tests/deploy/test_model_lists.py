import subprocess
import sys
from pathlib import Path

import pytest

from sightline.cli.models import find_models, load_declaration
from tests.deploy.model_lists import LISTS, missing_entries
from tests.scripts import load_script

ROOT = Path(__file__).parents[2]
DECLARATIONS = [load_declaration(name) for name in find_models()]
console_views = load_script(ROOT / "deploy" / "console_views.py")


def test_every_list_has_every_model() -> None:
    assert missing_entries(ROOT, DECLARATIONS) == []


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: listed.file)
def test_every_list_is_compared(listed: object) -> None:
    without_one = missing_entries(ROOT, [each for each in DECLARATIONS if each.name != "hdr_correct"])
    assert [fault for fault in without_one if fault.startswith(f"{getattr(listed, 'file', '')} has hdr-correct")]


@pytest.mark.parametrize("name", find_models())
def test_declaration_has_the_name_of_its_folder(name: str) -> None:
    assert load_declaration(name).name == name


def test_declarations_are_read_without_a_runtime() -> None:
    modules = ", ".join(f"services.{name}.schemas" for name in find_models())
    script = f"import sys, {modules}; print(*({{'onnxruntime', 'fastapi'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_console_views_are_those_of_the_declarations() -> None:
    assert console_views.FILE.read_text("utf-8") == console_views.render_views(DECLARATIONS), "run `make console`"
