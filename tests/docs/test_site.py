"""The documentation as a site: every link leads somewhere, and nothing is loaded from another host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.scripts import load_script

pytest.importorskip("mkdocs", reason="MkDocs is not installed: make docs")

ROOT = Path(__file__).parents[2]
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Loads(HTMLParser):
    """Collects what a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs).get(LOADING.get(tag, ""))
        if found and dict(attrs).get("rel") != "canonical":
            self.addresses.append(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a broken link, anchor or navigation entry fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert [each for each in loads.addresses if re.match(r"(https?:)?//", each)] == [], page.name


def test_cards_and_changelog_are_pages(site: Path) -> None:
    for page in ("cards/hoi.html", "changelog.html", "contributing.html"):
        assert (site / page).is_file()
    assert "../training.html" in (site / "cards" / "hoi.html").read_text()


def test_links_are_rewritten_for_the_place_of_their_page() -> None:
    rewrite = load_script(ROOT / "deploy" / "docs_hooks.py").rewrite_links
    card = "services/hoi/MODEL_CARD.md"
    assert rewrite("[t](../../docs/training.md#a)", card, "cards/hoi.md") == "[t](../training.md#a)"
    assert rewrite("[c](../services/hoi/MODEL_CARD.md)", "docs/weights.md", "weights.md") == "[c](cards/hoi.md)"
    assert rewrite("[m](../Makefile)", "docs/weights.md", "weights.md") == "m (`Makefile`)"
    assert rewrite("[w](https://a.example/b)", "docs/weights.md", "weights.md") == "[w](https://a.example/b)"
