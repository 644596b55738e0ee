"""Every code block of the documentation runs against a real fleet, or gives the reason why it cannot."""

import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.docs import blocks
from tests.docs.blocks import Block, PageRun, find_blocks, pages
from tests.fleet import running_fleet


def test_blocks_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = []
    with running_fleet(tmp_path / "state") as address:
        monkeypatch.setenv("SIGHTLINE_URL", address)
        for number, page in enumerate(pages()):
            folder = tmp_path / str(number)
            folder.mkdir()
            run = PageRun(folder, address, tmp_path / "state")
            failures += [failure for block in find_blocks(page) if (failure := failed(run, block))]
    assert not failures, "\n\n".join(failures)


def failed(run: PageRun, block: Block) -> str | None:
    """Runs a block, and returns what went wrong."""
    if block.reason:
        return None
    try:
        run.run(block)
    except Exception:
        return f"{block}\n{traceback.format_exc(limit=-3)}"
    return None


def test_error_reply_of_curl_is_reported_unless_the_block_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # has no method: replies with 501
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        run = PageRun(folder, url, tmp_path)
        reported = failed(run, Block("page.md", 7, "sh", f"curl {url}/none -o saved", None))
        expected = failed(run, Block("page.md", 7, "sh", f"curl --fail-with-body {url}/none || true", None))
        server.shutdown()
        thread.join()
    assert "HTTP status 501" in str(reported)
    assert expected is None


def test_block_with_its_language_line_and_reason_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```sh\ntrue\n```\n\n<!-- not run: needs a cluster -->\n```sh\nfalse\n```\n- b\n  ```json\n  {}\n  ```\n"
    )
    first, second, third = find_blocks(page)
    assert (first.language, first.code, first.line, first.reason) == ("sh", "true\n", 3, None)
    assert (second.code, second.reason) == ("false\n", "needs a cluster")
    assert (third.language, third.code) == ("json", "{}\n")


@pytest.mark.parametrize(
    ("language", "code"),
    [("sh", "false | true"), ("python", "1/0"), ("json", "{"), ("cobol", "STOP RUN."), ("sh", "curl -f ADDRESS/none")],
)
def test_faulty_block_is_reported(tmp_path: Path, language: str, code: str) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run = PageRun(folder, "http://127.0.0.1:9", tmp_path)
    assert "page.md:7" in str(failed(run, Block("page.md", 7, language, code, None)))
