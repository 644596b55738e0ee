"""The console in Chromium, with a real gateway and the real services with their shipped weights."""

import importlib
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from sightline.cli.models import find_models
from tests.browser import Page, open_page
from tests.chromium import needs_chromium
from tests.services.gateway.conftest import running

pytestmark = needs_chromium

DONE = "document.querySelector('#status').textContent.startsWith('Finished') || !!document.querySelector('.problem')"
SHOWN = "document.querySelector('#photo').naturalWidth > 0 && document.querySelector('#easel').hidden === false"


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_PROVIDERS", "cpu")
        upstreams = {
            name: [stack.enter_context(running(importlib.import_module(f"services.{name}.app").create())).url]
            for name in find_models()
        }
        settings = GatewaySettings.model_validate({"upstreams": upstreams, "poll_interval_s": 0.2})
        yield stack.enter_context(running(create_app(settings))).url


@pytest.fixture(scope="module")
def page(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Yields a page with the console once all models are ready; fails if the page reports errors."""
    with open_page(tmp_path_factory.mktemp("browser")) as page:
        page.open(f"{gateway}/readyz")
        page.wait("fetch('/readyz').then(reply => reply.ok)")
        page.troubles.clear()
        page.open(f"{gateway}/console/")
        page.wait(f"document.querySelectorAll('nav button').length === {len(find_models())}")
        yield page
        assert page.troubles == []


def choose_model(page: Page, name: str) -> None:
    page.click(f"[data-name={name}]")
    page.wait(f"document.querySelector('[aria-selected=true]').dataset.name === '{name}'")


def run(page: Page) -> None:
    page.click("#run")
    page.wait(DONE)
    assert not page.evaluate("document.querySelector('.problem')?.innerText ?? ''")


def plain_jpeg(path: Path, grey: int, size: tuple[int, int] = (96, 64)) -> Path:
    Image.new("RGB", size, (grey, grey, grey)).save(path)
    return path


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("model", ["hdr_correct", "hoi", "hra_screening", "svbrdf"])
def test_black_and_white_photos_show_results(page: Page, tmp_path: Path, model: str, grey: int) -> None:
    choose_model(page, model)
    page.choose("#file", plain_jpeg(tmp_path / "plain.jpg", grey))
    page.wait(SHOWN)
    run(page)
    result = page.text("#result")
    assert "null" not in result.split("Full record")[0]
    assert page.evaluate("document.querySelector('#result figure img').naturalWidth > 0")
    if model == "hdr_correct":
        assert "unknown" in result


def test_click_paints_hole_and_run_needs_hole(page: Page, tmp_path: Path) -> None:
    choose_model(page, "inpaint")
    page.choose("#file", plain_jpeg(tmp_path / "photo.jpg", 128, (300, 200)))
    page.wait(SHOWN)
    assert page.evaluate("document.querySelector('#run').disabled")
    assert page.text("#missing") == "Paint the holes to fill first."

    page.click("#mask")
    dot = page.evaluate(
        "[...document.querySelector('#mask').getContext('2d').getImageData(0, 0, 300, 200).data]"
        ".filter((value, at) => at % 4 === 3 && value > 127).length"
    )
    assert dot == pytest.approx(np.pi * 28**2, rel=0.05)
    assert page.text("#missing") == ""
    run(page)

    page.click("#clear")
    assert page.evaluate("document.querySelector('#run').disabled")


def test_back_and_forward_switch_model(page: Page) -> None:
    for name in ("hoi", "svbrdf"):
        choose_model(page, name)
    page.evaluate("history.back()")
    page.wait("document.querySelector('[aria-selected=true]').dataset.name === 'hoi'")
    assert page.text("#title") == "Human-object interaction"
    page.evaluate("history.forward()")
    page.wait("document.querySelector('[aria-selected=true]').dataset.name === 'svbrdf'")


@pytest.mark.parametrize("model", ["hdr_correct", "hoi", "hra_screening", "inpaint", "svbrdf"])
def test_notes_are_shown_in_words(page: Page, tmp_path: Path, model: str) -> None:
    frames, file = [Image.effect_noise((96, 64), sigma) for sigma in (20, 60)], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "animated.gif").write_bytes(file.getvalue())
    choose_model(page, model)
    page.choose("#file", tmp_path / "animated.gif")
    page.wait(SHOWN)
    if model == "inpaint":
        page.click("#mask")
    run(page)
    assert "The file contains several pictures; only the first was used." in page.text("#result")
