"""Code blocks of the documentation: found in Markdown, and run against a fleet.

A block runs unless a comment directly before it gives a reason: `<!-- not run: needs a cluster -->`. All blocks of a
page run in their order, in one folder that has the sample pictures, and its Python blocks in one namespace.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
DOCUMENTED_ADDRESS = "http://localhost:8080"
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n\s*)?^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
PROSE = frozenset(("", "text", "http", "nginx", "ini", "html", "ts"))
"""Languages of blocks that show something and are no input of a program here; `test_typescript.py` runs `ts`."""
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its page and line, its language, and the reason why it does not run, if any."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Returns README, documentation, contributing guide and model cards."""
    cards = sorted((ROOT / "services").glob("*/MODEL_CARD.md"))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *cards]


def find_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        yield Block(str(page.relative_to(ROOT)), line, match["language"], code, match["reason"])


class PageRun:
    """Runs the blocks of one page in a folder of its own."""

    def __init__(self, folder: Path, address: str, state: Path) -> None:
        self._folder, self._address = folder, address
        self._names: dict[str, object] = {"__name__": "documentation"}
        prepare(folder, state)
        self._languages: Mapping[str, Callable[[str], object]] = {
            "sh": self._run_shell,
            "python": self._run_python,
            "js": self._run_node,
            "json": json.loads,
            "toml": tomllib.loads,
            "yaml": yaml.safe_load,
        }

    def run(self, block: Block) -> None:
        """Raises an exception if the block fails; KeyError for a language that cannot be run."""
        if block.language not in PROSE:
            self._languages[block.language](block.code.replace(DOCUMENTED_ADDRESS, self._address))

    def _run_shell(self, code: str) -> None:
        errors = self._run("bash", "-euo", "pipefail", "-c", code)
        # curl succeeds with an error reply, unless an option says otherwise.
        refused = re.search(r"^HTTP status [45]\d\d$", errors, re.MULTILINE)
        if refused and "--fail" not in code:
            raise AssertionError(f"{refused[0]}\n{errors[-1500:]}")

    def _run_node(self, code: str) -> None:
        script = self._folder / "snippet.mjs"
        script.write_text(code)
        self._run("node", script.name)

    def _run_python(self, code: str) -> None:
        before = Path.cwd()
        os.chdir(self._folder)
        try:
            exec(compile(code, "documentation", "exec"), self._names)
        finally:
            os.chdir(before)

    def _run(self, *command: str) -> str:
        """Returns the text of standard error; raises AssertionError unless the exit code is 0."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        modules = os.pathsep.join((str(ROOT / "shared"), str(ROOT)))
        environment = {**os.environ, "PATH": path, "PYTHONPATH": modules, "SIGHTLINE_URL": self._address}
        environment["CURL_HOME"] = str(self._folder)
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
        return done.stderr


def prepare(folder: Path, state: Path) -> None:
    """Puts what the pages presuppose into a folder: sample pictures, a folder of photos, and the fleet's state."""
    for sample in SAMPLES.iterdir():
        if sample.suffix in (".jpg", ".png"):
            shutil.copy(sample, folder)
    (folder / "samples").symlink_to(SAMPLES)
    (folder / ".curlrc").write_text('write-out = "%{stderr}HTTP status %{http_code}\\n"\n')
    (folder / "photos").mkdir()
    for name in ("photo.jpg", "astronaut.jpg"):
        shutil.copy(SAMPLES / name, folder / "photos")
    (folder / ".sightline").symlink_to(state)
