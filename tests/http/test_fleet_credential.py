"""A service that is reached past its gateway answers nothing but probes."""

import http.client
import logging
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from sightline.api.problems import Code
from sightline.http.fleet_credential import is_accepted, read_credentials
from sightline.serving.settings import ServiceSettings
from tests.conftest import Serve
from tests.tiny_service import MakeApp, MakePng, WaitReady

SECRET, NEXT = "the-fleet-knows-this", "the-fleet-knows-this-next"
HEADER = "X-Sightline-Fleet-Credential"


@pytest.fixture
def url(serve: Serve, make_app: MakeApp, wait_ready: WaitReady) -> str:
    address = serve(make_app(fleet_credential=f"{SECRET}\n{NEXT}"))
    wait_ready(address)
    return address


def raw_status(url: str, method: str, target: str, headers: list[tuple[str, str]]) -> int:
    """The target goes out as it is, which clients would normalise."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers", [{}, {HEADER: "wrong"}, {HEADER: ""}, {HEADER: f"{SECRET},{SECRET}"}, {"X-Api-Key": SECRET}]
)
def test_requests_without_the_credential_are_refused(url: str, make_png: MakePng, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/v1/tiny-invert"),
        ("GET", "/v1/models/tiny_invert/card"),
        ("POST", "/v2/models/tiny_invert/infer"),
        ("GET", "/v2/models/tiny_invert"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("POST", "/readyz"),
    ):
        reply = httpx2.request(method, url + path, headers=headers, content=make_png())
        assert (reply.status_code, reply.json()["code"]) == (401, Code.UNAUTHORIZED), path
        assert reply.headers["www-authenticate"]


@pytest.mark.parametrize("secret", [SECRET, NEXT])
def test_request_with_the_credential_is_answered(url: str, make_png: MakePng, secret: str) -> None:
    reply = httpx2.post(f"{url}/v1/tiny-invert", content=make_png(), headers={HEADER: secret})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    assert HEADER not in reply.headers


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"])
def test_probe_needs_no_credential_but_a_wrong_one_is_refused(url: str, path: str) -> None:
    assert httpx2.get(url + path).status_code == 200
    assert httpx2.head(url + path).status_code == 200
    assert httpx2.get(url + path, headers={HEADER: "the-gateway-of-another-fleet"}).status_code == 401


def test_no_spelling_of_path_or_header_bypasses_the_credential(url: str) -> None:
    for target in (
        "//v1/models/tiny_invert/card",
        "/livez/../openapi.json",
        "/%6fpenapi.json",
        "/livez/",
        "/readyz;x",
        "/metrics/%2e%2e/docs",
    ):
        assert raw_status(url, "GET", target, []) == 401, target
    twice = [(HEADER, SECRET), (HEADER, "wrong")]
    assert raw_status(url, "GET", "/openapi.json", twice) == 401
    assert raw_status(url, "GET", "/openapi.json", [(HEADER.upper(), SECRET)]) == 200
    assert raw_status(url, "GET", "/openapi.json", [(HEADER.replace("-", "_"), SECRET)]) == 401


def test_credential_is_neither_logged_nor_shown(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    reply = httpx2.get(f"{url}/openapi.json", headers={HEADER: f"{SECRET}-almost"})
    assert SECRET not in reply.text
    output = capfd.readouterr()
    assert SECRET not in output.out + output.err + caplog.text
    assert SECRET not in repr(ServiceSettings(fleet_credential=SECRET))  # type: ignore[arg-type]  # as the environment has it


def test_no_redirect_names_the_address_of_the_service(url: str) -> None:
    for path in (
        "/v1/tiny-invert/",
        "/v1/models/tiny_invert/card/",
        "/v2/",
        "/v2/models/tiny_invert/",
        "/docs/",
        "/readyz/",
        "/metrics/",
    ):
        for method in ("GET", "POST", "HEAD"):
            reply = httpx2.request(method, url + path, headers={HEADER: SECRET})
            assert (reply.status_code, reply.headers.get("location")) == (404, None), path


@pytest.mark.parametrize(
    "text", ["", " \n ", "short", "with spaces in the middle", "a-good-one-of-twenty\nbad", "ä" * 20]
)
def test_unusable_credential_ends_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "fleet-credential"
    file.write_text(text, "utf-8")
    for given in ({"fleet_credential_file": file}, {"fleet_credential": text}):
        with pytest.raises(ValueError, match="16 visible ASCII characters") as failure:
            ServiceSettings.model_validate(given)
        assert not text.strip() or text not in str(failure.value)


def test_credentials_are_one_a_line() -> None:
    assert read_credentials(f"{SECRET}\r\n\n{NEXT}\n") == (SECRET, NEXT)
    assert is_accepted(NEXT.encode(), (SECRET, NEXT))
    assert not is_accepted("ü".encode("latin-1"), (SECRET,))
