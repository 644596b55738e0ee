"""The console's files are public; the API behind it requires a key where keys are configured."""

import hashlib
import http.client
import re

import httpx2
import pytest

from tests.services.gateway.conftest import MakeService, OpenGateway, Start


@pytest.fixture
def guarded(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> str:
    keys = {"newsroom": {"sha256": hashlib.sha256(b"secret").hexdigest()}}
    return open_gateway({"echo": [start(make_service()).url]}, keys=keys).url


def test_root_redirects_to_console(guarded: str) -> None:
    reply = httpx2.get(guarded, follow_redirects=True)

    assert (reply.status_code, reply.url.path) == (200, "/console/")
    assert reply.headers["content-type"].startswith("text/html")
    assert httpx2.get(f"{guarded}/v1/models").status_code == 401


def test_console_loads_only_gateway_files_under_strict_policy(guarded: str) -> None:
    page = httpx2.get(f"{guarded}/console/")
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style>|style=|\son\w+=|https?://", page.text)
    used = re.findall(r'(?:src|href)="([^"/][^"]*)"', page.text)
    assert {"views.js", "console.js", "console.css"} <= set(used)
    for name in used:
        assert httpx2.get(f"{guarded}/console/{name}").status_code == 200


def test_console_serves_no_file_outside_its_folder(guarded: str) -> None:
    for path in ("/console/../app.py", "/console/%2e%2e/app.py", "/console/..%2fapp.py"):
        assert httpx2.get(guarded + path).status_code in (401, 404)


def test_console_folder_does_not_redirect(guarded: str) -> None:
    """Sends the targets unchanged over a raw connection, because HTTP clients normalise them."""
    for target in ("/console/.", "/console/./.", "/console//.", "/console/%2e"):
        connection = http.client.HTTPConnection(guarded.removeprefix("http://"), timeout=10)
        connection.request("GET", target)
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("location")) == (404, None), target
        connection.close()
