"""The pages of the API reference against the declarations, problem codes and routes of this checkout."""

import re
from pathlib import Path
from typing import Any

import pytest

from sightline.api.problems import Code
from tests.scripts import load_script

ROOT = Path(__file__).parents[2]
api_reference = load_script(ROOT / "deploy" / "api_reference.py")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = api_reference.load_document()
    return found


def test_committed_pages_match_the_current_document() -> None:
    for file, text in api_reference.render_pages().items():
        assert file.read_text("utf-8") == text, f"run `make reference`, which writes {file.name}"


def test_reference_has_every_route_option_and_object(document: dict[str, Any]) -> None:
    page = api_reference.render_api(document)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"### {method.upper()} {path}\n" in page
            assert all(f"| `{each['name']}` |" in page for each in operation.get("parameters", []))
    assert all(f"\n### {name}\n" in page for name in document["components"]["schemas"])


def test_reference_has_defaults_and_ranges(document: dict[str, Any]) -> None:
    page = api_reference.render_api(document)
    assert "| `strength` | number, 0 to 1 | 1.0 | Share of the correction" in page
    assert "| `max_people` | integer, 0 to 1000 | 100 |" in page


def test_links_within_the_reference_have_targets(document: dict[str, Any]) -> None:
    page, problems = api_reference.render_api(document), api_reference.render_problems()
    headings = {
        re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in re.findall(r"^#+ (.+)$", page, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= headings
    assert set(re.findall(r"problems\.md#(\w+)", page)) <= set(re.findall(r'id="(\w+)"', problems))


def test_every_problem_code_has_a_cause_and_a_remedy() -> None:
    assert set(api_reference.CAUSES) == set(Code)
    assert all(cause.endswith(".") and remedy.endswith(".") for cause, remedy in api_reference.CAUSES.values())
