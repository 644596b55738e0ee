"""A sixth model, made of nothing but the code in CONTRIBUTING.md, served by a gateway."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.cli.fleet import free_port
from tests.deploy.model_lists import LISTS

ROOT = Path(__file__).parents[1]
COPIED = ("shared/sightline", "samples", "deploy", *(listed.file for listed in LISTS))
CODE = re.compile(r"^`([\w/.]+)`\n\n(?:<!-- [^>]* -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = {
    "docker-compose.yml": "  inpaint: {",
    "deploy/docker-compose.gpu.yml": "  inpaint: {",
    "deploy/docker-compose.weights.yml": "  inpaint: {",
    "deploy/docker-compose.evidence.yml": "  inpaint: *signed",
    "tests/stack/docker-compose.test.yml": "  inpaint: ",
    "deploy/helm/sightline/values.yaml": "  inpaint: {}",
    "deploy/capacity.py": '    ModelCost("inpaint"',
    "docs/reference/api.md": "### POST /v1/inpaint",
    "docs/operations.md": "| inpaint (CPU)",
}
"""The line of another model in each file, by its beginning."""
CHECK = """
import json, sys
from pathlib import Path
from sightline.cli.models import find_models, load_declaration
from tests.deploy.model_lists import missing_entries
print(json.dumps(missing_entries(Path(), [load_declaration(name) for name in find_models()])))
"""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the repository with a sixth model in it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.root / "shared", self.root, ROOT)))
        return {**os.environ, "PYTHONPATH": path, "SIGHTLINE_PROVIDERS": "cpu"}

    def run(self, *arguments: str) -> str:
        command = (sys.executable, *arguments)
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, program: str, factory: str, **settings: str) -> Iterator[str]:
        """The address of a server in a process of its own, once it is ready."""
        port = free_port()
        environment = {**self.environment, **settings, "SIGHTLINE_PORT": str(port)}
        process = subprocess.Popen((sys.executable, "-m", program, factory), cwd=self.root, env=environment)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()

    def missing_entries(self) -> list[str]:
        faults: list[str] = json.loads(self.run("-c", CHECK))
        return faults


def wait_until_ready(url: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < give_up_at, f"{url} did not become ready"
        time.sleep(0.05)


def make_checkout(root: Path) -> Checkout:
    """With everything but the entries in the lists of models."""
    for name in COPIED:
        copy(ROOT / name, root / name)
    (root / "services").mkdir(exist_ok=True)
    for part in (ROOT / "services").iterdir():
        if part.name not in ("gateway", "__pycache__"):
            (root / "services" / part.name).symlink_to(part)
    copy(ROOT / "services" / "gateway", root / "services" / "gateway")
    for file, code in documented_files().items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(code)
    for package in ("services/tiny", "shared/sightline/training/tiny"):
        (root / package / "__init__.py").touch()
    (root / "services" / "tiny" / "MODEL_CARD.md").write_text("# Inversion\n")
    checkout = Checkout(root)
    checkout.run("-m", "sightline.cli", "export", "tiny")
    return checkout


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def documented_files() -> Mapping[str, str]:
    """The files of the how-to in CONTRIBUTING.md."""
    return dict(CODE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8")))


def add_to_lists(checkout: Checkout) -> None:
    for file, beginning in LINES.items():
        path = checkout.root / file
        lines = path.read_text("utf-8").splitlines(keepends=True)
        (at,) = (at for at, line in enumerate(lines) if line.startswith(beginning))
        lines.insert(at + 1, lines[at].replace("inpaint", "tiny").replace("INPAINT", "TINY"))
        path.write_text("".join(lines), "utf-8")
    profiles = checkout.root / ".env"
    profiles.write_text(profiles.read_text("utf-8").replace("inpaint", "inpaint,tiny"), "utf-8")
    checkout.run("deploy/console_views.py")


def test_how_to_has_the_code_of_every_module() -> None:
    assert set(documented_files()) == {
        "services/tiny/schemas.py",
        "services/tiny/predictor.py",
        "services/tiny/app.py",
        "shared/sightline/networks/tiny.py",
        "shared/sightline/training/tiny/jobs.py",
    }


def test_documented_model_is_listed_served_and_predicted_with(tmp_path: Path) -> None:
    """One test, as the copy and the export take longer than the rest."""
    checkout = make_checkout(tmp_path / "checkout")
    require_lists_to_be_checked(checkout)
    require_served(checkout)
    require_command_line(checkout, tmp_path / "out.png")


def require_lists_to_be_checked(checkout: Checkout) -> None:
    """Each list is named until it has its line."""
    missing = checkout.missing_entries()
    assert [fault.partition(" lacks tiny")[0] for fault in missing] == [listed.file for listed in LISTS]

    add_to_lists(checkout)

    assert checkout.missing_entries() == []


def require_served(checkout: Checkout) -> None:
    photo = (ROOT / "samples" / "photo.jpg").read_bytes()
    with ExitStack() as stack:
        service = stack.enter_context(checkout.serving("sightline.serving", "services.tiny.app:create"))
        upstreams = json.dumps({"tiny": [service]})
        program = ("sightline.http", "services.gateway.app:create")
        gateway = stack.enter_context(checkout.serving(*program, SIGHTLINE_UPSTREAMS=upstreams))

        picture = httpx2.post(f"{gateway}/v1/tiny", files={"image": photo})
        plain = httpx2.post(f"{gateway}/v1/tiny", files={"image": photo}, data={"strength": "0"})
        record = httpx2.post(f"{gateway}/v1/tiny", files={"image": photo}, headers={"Accept": "application/json"})
        models = httpx2.get(f"{gateway}/v1/models").json()
        document = httpx2.get(f"{gateway}/openapi.json").json()
        metrics = httpx2.get(f"{service}/metrics").text

    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["X-Sightline-Model"].startswith("tiny@1.0.0+")
    assert np.abs(pixels(picture.content) + pixels(plain.content) - 255).max() <= 1
    assert record.json()["mean"] == pytest.approx(pixels(picture.content).mean() / 255, abs=0.01)
    assert [model["name"] for model in models["models"]] == ["tiny"]
    assert "/v1/tiny" in document["paths"]
    assert re.search(r'^sightline_stage_duration_seconds_count\{.*model="tiny".*\} [1-9]', metrics, re.MULTILINE)


def require_command_line(checkout: Checkout, out: Path) -> None:
    checkout.run("-m", "sightline.cli", "predict", "tiny", str(ROOT / "samples" / "photo.jpg"), "-o", str(out))
    assert pixels(out.read_bytes()).shape == (64, 64, 3)


def pixels(data: bytes) -> NDArray[np.int_]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image, int)
