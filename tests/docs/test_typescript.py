"""The program of docs/typescript.md: compiled with the types of a real fleet, and run against it and a faulty proxy."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.docs.blocks import find_blocks, prepare
from tests.fleet import running_fleet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "typescript.md"
TOOLS = Path(__file__).parent / "typescript"
LIMIT_S = 120.0
FILES = ["client.ts", "first.ts", "records.ts", "jobs.ts", "errors.ts", "batch.ts"]


def code_of_page() -> dict[str, str]:
    """Returns the page's files; the first line of each names it."""
    return {
        block.code.split("\n", 1)[0].removeprefix("// "): block.code
        for block in find_blocks(PAGE)
        if block.language == "ts"
    }


def test_page_has_the_files_that_are_run() -> None:
    assert list(code_of_page()) == FILES


def test_page_installs_the_tested_versions() -> None:
    tested = json.loads((TOOLS / "package.json").read_text())["devDependencies"]
    assert dict(re.findall(r"(@?[\w/-]+)@(\d[\d.]+)", PAGE.read_text())) == tested


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    if not (TOOLS / "node_modules").is_dir():
        pytest.skip("the TypeScript compiler is not installed: make typescript")
    with running_fleet(tmp_path_factory.mktemp("state")) as address:
        yield address


@pytest.fixture(scope="module")
def folder(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, compiled as the page says."""
    folder = tmp_path_factory.mktemp("typescript")
    prepare(folder, folder / "none")
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    (settings,) = (block.code for block in find_blocks(PAGE) if block.language == "json")
    (folder / "tsconfig.json").write_text(settings)
    for name, code in code_of_page().items():
        (folder / name).write_text(code)
    run(folder, "npx", "--no-install", "openapi-typescript", f"{address}/openapi.json", "-o", "api.ts")
    run(folder, "npx", "--no-install", "tsc")
    return folder


def run(folder: Path, *command: str, url: str = "") -> str:
    environment = {**os.environ, "SIGHTLINE_URL": url}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_first_request_saves_pictures(folder: Path, address: str) -> None:
    assert re.search(r"invented share: 0\.\d+", run(folder, "node", "dist/first.js", url=address))
    assert (folder / "filled.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "corrected.jpg").read_bytes().startswith(b"\xff\xd8")


def test_records_have_decisions_and_interactions(folder: Path, address: str) -> None:
    output = run(folder, "node", "dist/records.js", url=address)
    assert re.search(r"^\w+ [01]\.\d\d (true|false)$", output, re.MULTILINE)
    assert re.search(r"^person 0: \w+ \(0\.\d\d\)$", output, re.MULTILINE)


def test_job_is_followed_to_its_end_and_deleted(folder: Path, address: str) -> None:
    output = run(folder, "node", "dist/jobs.js", url=address)
    assert re.match(r"job [0-9a-f]{32}\n", output)
    assert output.rstrip().endswith("succeeded")


def test_error_has_its_code(folder: Path, address: str) -> None:
    assert run(folder, "node", "dist/errors.js", url=address).startswith("skipped: ")


def test_batch_continues_after_a_broken_picture(folder: Path, address: str) -> None:
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    lines = run(folder, "node", "dist/batch.js", url=address).splitlines()
    assert len(lines) == len(list((folder / "photos").iterdir()))
    assert sum(bool(re.search(r" [01]\.\d\d$", line)) for line in lines) == len(lines) - 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, headers={"Retry-After": "1"}),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(reset_after=0),
        Fault(lose_reply=True),
        Fault(cut_after=9),
        Fault(add_headers={"Prefer": "respond-async"}),
    ],
    ids=["busy", "rate limit", "reset", "lost reply", "cut reply", "job"],
)
def test_result_is_the_same_after_a_fault(folder: Path, address: str, fault: Fault) -> None:
    with faulty_proxy(address, "/prefix") as proxy:
        proxy.faults = [fault]
        assert run(folder, "node", "dist/records.js", url=proxy.url) == run(
            folder, "node", "dist/records.js", url=address
        )
        assert proxy.faults == []
        first, *repeated = screening_keys(proxy)
        assert first is None
        assert all(repeated)


def test_repeated_attempts_have_one_key(folder: Path, address: str) -> None:
    with faulty_proxy(address, "/prefix") as proxy:
        proxy.faults = [Fault(lose_reply=True), Fault(cut_after=9)]
        run(folder, "node", "dist/records.js", url=proxy.url)
        assert len(screening_keys(proxy)) == 3
        assert len(set(screening_keys(proxy)[1:])) == 1


def screening_keys(proxy: FaultyProxy) -> list[str | None]:
    """Returns the idempotency keys of all attempts to screen the picture."""
    return [each.idempotency_key for each in proxy.passed if each.path.endswith("/v1/hra-screening")]
