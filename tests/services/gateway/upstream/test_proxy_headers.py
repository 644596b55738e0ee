import pytest
from starlette.datastructures import Headers
from yarl import URL

from services.gateway.auth.api_keys import Caller
from services.gateway.upstream.proxy_headers import LinkRewriter, reply_headers, request_headers
from sightline.api.problems import Problem
from sightline.jobs.job import Priority

CALLER = Caller("desk")
SAID = {"X-Sightline-Caller": "desk", "X-Sightline-Priority": "interactive"}
LINKS = LinkRewriter(URL("http://10.0.0.7:8000/v1/echo"), prefix="")


def test_request_headers_drop_what_is_between_two_hops() -> None:
    headers = Headers(
        {"Host": "x", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "Transfer-Encoding": "chunked", "Accept": "*/*"}
    )
    forwarded = request_headers(headers, caller=CALLER, request_id="abc", left_s=1.5)
    assert dict(forwarded) == {"accept": "*/*", "X-Request-Id": "abc", "X-Sightline-Deadline-Ms": "1500", **SAID}


def test_request_headers_replace_the_clients_own_id_and_deadline() -> None:
    headers = Headers({"x-request-id": "theirs", "x-sightline-deadline-ms": "9"})
    forwarded = request_headers(headers, caller=CALLER, request_id="ours", left_s=0.004)
    assert forwarded.getall("X-Request-Id") == ["ours"]
    assert forwarded.getall("X-Sightline-Deadline-Ms") == ["4"]


def test_request_headers_keep_repeated_and_tracing_headers() -> None:
    raw = [(b"accept", b"image/png"), (b"accept", b"image/jpeg"), (b"traceparent", b"00-ab-cd-01")]
    forwarded = request_headers(Headers(raw=raw), caller=CALLER, request_id="abc", left_s=1)
    assert forwarded.getall("accept") == ["image/png", "image/jpeg"]
    assert forwarded["traceparent"] == "00-ab-cd-01"


def test_reply_headers_keep_what_clients_of_the_service_need() -> None:
    raw = [
        (b"Server", b"uvicorn"),
        (b"Date", b"now"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Inference-Header-Content-Length", b"12"),
        (b"Content-Encoding", b"gzip"),
    ]
    assert reply_headers(raw, links=LINKS, body_sha256="ab") == [
        (b"inference-header-content-length", b"12"),
        (b"content-encoding", b"gzip"),
        (b"x-sightline-body-sha256", b"ab"),
    ]


def test_reply_headers_of_a_request_without_body_name_no_digest() -> None:
    assert reply_headers([], links=LINKS, body_sha256=None) == []


def test_request_headers_keep_secrets_here() -> None:
    headers = Headers({"Authorization": "Bearer a", "X-Api-Key": "a", "X-Sightline-Webhook-Secret": "whsec_a"})
    assert set(request_headers(headers, caller=CALLER, request_id="abc", left_s=1)) == {
        "X-Request-Id",
        "X-Sightline-Deadline-Ms",
        *SAID,
    }


def test_request_headers_say_whose_share_it_is_whatever_the_client_says() -> None:
    archive = Caller("archive", highest=Priority.BULK)
    forwarded = request_headers(Headers({"X-Sightline-Caller": "desk"}), caller=archive, request_id="abc", left_s=1)
    assert forwarded.getall("X-Sightline-Caller") == ["archive"]
    assert forwarded.getall("X-Sightline-Priority") == ["bulk"]
    asked = Headers({"X-Sightline-Priority": "interactive"})
    with pytest.raises(Problem, match="bulk"):
        request_headers(asked, caller=archive, request_id="abc", left_s=1)
