"""Pictures as Chromium shows them: decoded by the browser and read back through a canvas."""

import base64
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM = shutil.which("chromium") or ""
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (Debian: chromium)")

# Decoding is finished when the page has loaded, so that nothing here has to wait.
_SCRIPT = """
onload = () => {
  const shown = {};
  for (const image of document.images) {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    if (!width) { shown[image.id] = null; continue; }
    const canvas = Object.assign(document.createElement("canvas"), { width, height }), on = canvas.getContext("2d");
    on.drawImage(image, 0, 0);
    const bytes = on.getImageData(0, 0, width, height).data;
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    shown[image.id] = [height, width, btoa(text)];
  }
  document.body.innerHTML = "<pre></pre>";
  document.body.firstChild.textContent = JSON.stringify(shown);
};
"""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--dump-dom")


def shown_by_chromium(files: Mapping[str, tuple[str, bytes]], folder: Path) -> dict[str, NDArray[np.uint8]]:
    """(h, w, 4) sRGB and alpha of each file, given as media type and bytes; files that it cannot show are left out.

    folder: empty, for the page and the browser's profile.
    """
    images = (f'<img id="{name}" src="{_data_url(*file)}">' for name, file in files.items())
    page = folder / "page.html"
    page.write_text(f"<!doctype html><body>{''.join(images)}<script>{_SCRIPT}</script></body>")
    command = (CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri())
    done = run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr
    shown: dict[str, Any] = json.loads(html.unescape(found[1]))
    return {name: _pixels(*file) for name, file in shown.items() if file is not None}


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _pixels(height: int, width: int, encoded: str) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(height, width, 4)
