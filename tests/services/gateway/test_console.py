"""The page itself is for everybody; what it shows needs a key where there are keys."""

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


def test_the_front_door_leads_to_the_console(guarded: str) -> None:
    reply = httpx2.get(guarded, follow_redirects=True)

    assert (reply.status_code, reply.url.path) == (200, "/console/")
    assert reply.headers["content-type"].startswith("text/html")
    assert httpx2.get(f"{guarded}/v1/models").status_code == 401


def test_whatever_the_console_is_made_of_comes_from_the_gateway_and_nothing_else_may_run(guarded: str) -> None:
    page = httpx2.get(f"{guarded}/console/")
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style>|style=|\son\w+=|https?://", page.text)
    used = re.findall(r'(?:src|href)="([^"/][^"]*)"', page.text)
    assert {"views.js", "console.js", "console.css"} <= set(used)
    for name in used:
        assert httpx2.get(f"{guarded}/console/{name}").status_code == 200


def test_nothing_outside_of_its_folder_is_told(guarded: str) -> None:
    for path in ("/console/../app.py", "/console/%2e%2e/app.py", "/console/..%2fapp.py"):
        assert httpx2.get(guarded + path).status_code in (401, 404)


def test_its_folder_leads_nowhere_else(guarded: str) -> None:
    """The targets go out as they are, which clients would normalise."""
    for target in ("/console/.", "/console/./.", "/console//.", "/console/%2e"):
        connection = http.client.HTTPConnection(guarded.removeprefix("http://"), timeout=10)
        connection.request("GET", target)
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("location")) == (404, None), target
        connection.close()
