"""Names that a web page may have resolve to this machine are refused."""

import socket
from collections.abc import Sequence

import httpx2
import pytest

from sightline.api.problems import Code
from tests.services.gateway.conftest import OpenGateway, Server


@pytest.fixture
def gateway(open_gateway: OpenGateway) -> Server:
    return open_gateway({}, wait=False, allowed_hosts=["photos.example.org", "*.lab.example", "192.0.2.7"])


def ask(server: Server, headers: Sequence[str], *, path: str = "/livez", version: str = "1.1") -> tuple[int, str]:
    """Status and body of a request with exactly these header lines."""
    with socket.create_connection(server.address) as client:
        lines = [f"GET {path} HTTP/{version}", *headers, "Connection: close", "", ""]
        client.sendall("\r\n".join(lines).encode("latin-1"))
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    return int(reply.split()[1]), reply.decode()


def test_answers_under_its_own_names(gateway: Server) -> None:
    for host in (
        "localhost",
        "LocalHost.:8080",
        "127.0.0.1",
        "127.8.9.1:80",
        "[::1]:8080",
        "[0:0::1]",
        "[::ffff:127.0.0.1]",
        socket.gethostname(),
        "photos.example.org",
        "PHOTOS.Example.org:443",
        "a.lab.example",
        "b.a.lab.example:8080",
        "192.0.2.7:8080",
    ):
        assert ask(gateway, [f"Host: {host}"])[0] == 200, host


def test_refuses_every_other_name(gateway: Server) -> None:
    for host in (
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "photos.example.org.evil.example",
        "evilphotos.example.org",
        "lab.example",
        "evil-lab.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost:8080@evil.example",
        "localhost:port",
        "localhost, evil.example",
        "[::1].evil.example",
        "169.254.169.254",
        "192.0.2.8",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::]",
        "*",
        "*.lab.example",
        "xn--lcalhost-54a",
    ):
        for path in ("/livez", "/v1/models", "/v1/jobs", "/nowhere", "/console/", "/metrics"):
            status, reply = ask(gateway, [f"Host: {host}"], path=path)
            assert (status, Code.HOST_NOT_ALLOWED in reply) == (421, True), host
    assert "SIGHTLINE_ALLOWED_HOSTS" in reply


def test_a_request_names_one_host(gateway: Server) -> None:
    for headers in (["Host: localhost", "Host: evil.example"], ["Host: evil.example", "Host: localhost"], []):
        status, reply = ask(gateway, headers)
        assert (status, Code.INVALID_REQUEST in reply or "Invalid" in reply) == (400, True)
    assert ask(gateway, [], version="1.0")[0] == 200
    assert ask(gateway, ["Host: "])[0] == 421


def test_no_other_header_stands_for_the_host(gateway: Server) -> None:
    for header in ("X-Forwarded-Host: localhost", "Forwarded: host=localhost", "X-Host: localhost"):
        assert ask(gateway, ["Host: evil.example", header])[0] == 421
    assert ask(gateway, ["Host: localhost", "X-Forwarded-Host: evil.example"])[0] == 200
    assert ask(gateway, ["Host: evil.example"], path="http://localhost/livez")[0] == 421


def test_a_job_cannot_be_deleted_by_another_name(gateway: Server) -> None:
    reply = httpx2.delete(f"{gateway.url}/v1/jobs/1", headers={"Host": "evil.example"})
    assert (reply.status_code, reply.headers["content-type"]) == (421, "application/problem+json")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_all_names_can_be_allowed(open_gateway: OpenGateway) -> None:
    assert ask(open_gateway({}, wait=False, allowed_hosts=["*"]), ["Host: whatever.example"])[0] == 200


def test_an_address_that_stands_for_all_is_no_name(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, host="0.0.0.0", allowed_hosts=["0.0.0.0", "::"])
    assert ask(gateway, ["Host: 0.0.0.0:8080"])[0] == 421
