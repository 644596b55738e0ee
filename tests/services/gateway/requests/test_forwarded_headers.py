"""A gateway behind a real reverse proxy that strips a prefix, and clients that forge forwarded headers."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2
import pytest
from aiohttp import ClientSession, web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from yarl import URL

from services.gateway.requests.forwarded_headers import ForwardedHeadersMiddleware
from services.gateway.settings import GatewaySettings
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import MakeService, ManualWorker, OpenGateway, Server, Start

PREFIX = "/sightline"
PUBLIC = "photos.example.org"
LOOPBACK = ["127.0.0.0/8"]
HOP_BY_HOP = ("Transfer-Encoding", "Content-Length", "Connection", "Content-Encoding")


@contextmanager
def reverse_proxy(upstream: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Serves `upstream` under the prefix, which it strips, and adds `headers` to each request."""

    async def forward(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.removeprefix(PREFIX) or "/"
        # As nginx and Caddy are configured: the client's headers of these names are replaced.
        dropped = (*headers, *HOP_BY_HOP)
        kept = {name: value for name, value in request.headers.items() if name not in dropped}
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                URL(upstream + path, encoded=True),
                headers={**kept, **headers},
                data=await request.read() or None,
                allow_redirects=False,
            ) as reply,
        ):
            passed = {name: value for name, value in reply.headers.items() if name not in HOP_BY_HOP}
            return web.Response(status=reply.status, headers=passed, body=await reply.read())

    loop, started = asyncio.new_event_loop(), threading.Event()
    address: list[tuple[str, int]] = []

    async def serve() -> web.AppRunner:
        app = web.Application(client_max_size=10**7)
        app.router.add_route("*", PREFIX, forward)
        app.router.add_route("*", f"{PREFIX}/{{rest:.*}}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(runner.addresses[0])
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield f"http://127.0.0.1:{address[0][1]}{PREFIX}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


FORWARDED = {"X-Forwarded-Prefix": PREFIX, "X-Forwarded-Host": PUBLIC, "X-Forwarded-Proto": "https"}
BY_HEADERS = ({"trusted_proxies": LOOPBACK, "allowed_hosts": [PUBLIC]}, FORWARDED)
BY_SETTING: tuple[dict[str, object], dict[str, str]] = ({"root_path": PREFIX}, {})


@pytest.mark.parametrize(("settings", "headers"), [BY_HEADERS, BY_SETTING], ids=["headers", "setting"])
def test_links_and_routes_work_behind_a_prefix(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    worker: ManualWorker,
    png: bytes,
    settings: dict[str, object],
    headers: dict[str, str],
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, **settings)  # type: ignore[arg-type]
    with reverse_proxy(gateway.url, headers) as public, httpx2.Client() as client:
        origin = public.removesuffix(PREFIX)
        for path in ("", "/", "/console"):
            page = client.get(public + path, follow_redirects=True)
            assert (page.status_code, page.url.path) == (200, f"{PREFIX}/console/"), path
        assert client.get(page.url.join("../v1/models")).status_code == 200
        docs = client.get(f"{public}/docs")
        assert client.get(docs.url.join("docs/assets/swagger-ui-bundle.js")).status_code == 200
        assert client.get(docs.url.join("openapi.json")).json()["servers"] == [{"url": PREFIX}]
        (model,) = client.get(f"{public}/v1/models").json()["models"]
        assert (model["route"], model["card"]) == (f"{PREFIX}/v1/echo", f"{PREFIX}/v1/models/echo/card")
        accepted = client.post(f"{origin}{model['route']}", content=png, headers={"Prefer": "respond-async"})
        assert accepted.headers["location"] == accepted.json()["links"]["self"]
        job = client.get(accepted.url.join(accepted.headers["location"])).json()
        own = f"{PREFIX}/v1/jobs/{job['id']}"
        assert set(job["links"].values()) == {own, f"{own}/result", f"{own}/events"}
        early = client.get(origin + job["links"]["result"])
        assert (early.status_code, early.json()["status_url"]) == (409, job["links"]["self"])
        second = client.post(f"{public}/v1/echo", content=png + b"2", headers={"Prefer": "respond-async"})
        page_of_jobs = client.get(f"{public}/v1/jobs?limit=1").json()
        assert client.get(origin + page_of_jobs["next"]).json()["jobs"][0]["id"] == job["id"]
        worker.finish(worker.take(), {"image/png": png})
        assert client.get(origin + job["links"]["result"]).content == png
        assert client.get(origin + job["links"]["events"]).text.startswith("retry:")
        assert client.delete(origin + second.json()["links"]["self"]).json()["links"] == second.json()["links"]
        assert client.get(f"{public}/v1/nowhere").json()["routes"] == [f"{PREFIX}/v1/echo"]


def prefix_seen(gateway: Server, *headers: tuple[str, str]) -> str:
    return str(httpx2.get(f"{gateway.url}/v1/models", headers=headers).json()["models"][0]["route"])


def test_origin_check_uses_the_forwarded_host(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, trusted_proxies=LOOPBACK, allowed_hosts=[PUBLIC])
    with reverse_proxy(gateway.url, {**FORWARDED, "Host": "127.0.0.1:8080"}) as public:
        for origin, status in ((PUBLIC, 200), ("evil.example", 403), (f"a.{PUBLIC}", 403)):
            reply = httpx2.post(f"{public}/v2/repository/index", headers={"Origin": f"https://{origin}"})
            assert reply.status_code == status, origin
    with reverse_proxy(gateway.url, {**FORWARDED, "X-Forwarded-Host": "evil.example"}) as public:
        assert httpx2.get(f"{public}/livez").status_code == 421


def test_forwarded_headers_count_from_trusted_proxies_alone(open_gateway: OpenGateway) -> None:
    for trusted in ([], ["192.0.2.0/24"], ["::1/128"]):
        gateway = open_gateway({"echo": ["http://127.0.0.1:1"]}, wait=False, trusted_proxies=trusted)
        assert prefix_seen(gateway, ("X-Forwarded-Prefix", PREFIX)) == "/v1/echo"
        # Not by claiming to come from the proxy, either.
        claim = ("X-Forwarded-For", "192.0.2.1")
        assert prefix_seen(gateway, claim, ("X-Forwarded-Prefix", PREFIX)) == "/v1/echo"
        reply = httpx2.get(f"{gateway.url}/livez", headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"})
        assert reply.status_code == 421


def test_malformed_prefix_is_ignored(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"echo": ["http://127.0.0.1:1"]}, wait=False, trusted_proxies=LOOPBACK)
    for sent, seen in (
        ("/a/b-c.d_e~f/", "/a/b-c.d_e~f"),
        ("/v1", "/v1"),
        ("/other, /sightline", "/sightline"),
        ("/", ""),
        ("", ""),
        ("sightline", ""),
        ("//evil.example", ""),
        ("/\\evil.example", ""),
        ("https://evil.example", ""),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/..", ""),
        ("/%2e%2e", ""),
        ("/a b", ""),
        ("/a?b", ""),
        ('/"><script>', ""),
        ("/" + "a" * 500, ""),
    ):
        assert prefix_seen(gateway, ("X-Forwarded-Prefix", sent)) == f"{seen}/v1/echo", sent


def test_configured_prefix_is_not_overridden(open_gateway: OpenGateway) -> None:
    upstreams = {"echo": ["http://127.0.0.1:1"]}
    gateway = open_gateway(upstreams, wait=False, trusted_proxies=LOOPBACK, root_path="/own/")
    assert prefix_seen(gateway, ("X-Forwarded-Prefix", PREFIX)) == "/own/v1/echo"


def test_services_receive_no_forwarded_headers(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    seen: list[str] = []

    async def report(request: Request) -> Response:
        seen.extend(name for name in request.headers if "forwarded" in name)
        return Response(b"")

    gateway = open_gateway({"echo": [start(make_service(report)).url]}, trusted_proxies=LOOPBACK)
    sent = {**FORWARDED, "X-Forwarded-Host": "localhost", "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    assert httpx2.post(f"{gateway.url}/v1/echo/x", headers=sent).status_code == 200
    assert seen == []


@pytest.mark.parametrize("root_path", ["sightline", "//evil", "/a/../b", "https://a/b", "/a b"])
def test_malformed_root_path_fails_the_start(root_path: str) -> None:
    with pytest.raises(ValueError, match="root path is written as"):
        GatewaySettings(root_path=root_path)


NO_ORIGINS = ["*", "null", "desk.example.org", "https://a/b", "https://*.a", "ftp://a", "https://a@b"]


@pytest.mark.parametrize("origin", NO_ORIGINS)
def test_malformed_origin_fails_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="origin is written as"):
        GatewaySettings(cors_origins=(origin,))


def test_client_is_the_nearest_untrusted_address(start: Start) -> None:
    async def report(request: Request) -> Response:
        assert request.client
        return Response(f"{request.client.host} {request.url.scheme}")

    trusted = GatewaySettings.model_validate({"trusted_proxies": "127.0.0.1, 10.0.0.0/8,2001:db8::/32"}).trusted_proxies
    app = ForwardedHeadersMiddleware(Starlette(routes=[Route("/", report)]), trusted, "")
    url = start(app).url
    for sent, client in (
        (["192.0.2.1"], "192.0.2.1"),
        (["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (["203.0.113.9, 192.0.2.1, 10.0.0.3"], "192.0.2.1"),
        (["192.0.2.1", "10.0.0.3"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db9::1]:4711, [2001:db8::1]"], "2001:db9::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        (["192.0.2.1, made up, 10.0.0.3"], "10.0.0.3"),
        (["unknown"], "127.0.0.1"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
    ):
        headers = [("X-Forwarded-For", value) for value in sent]
        assert httpx2.get(url, headers=headers).text == f"{client} http", sent
    for scheme, seen in (("https", "https"), ("http, HTTPS", "https"), ("javascript", "http"), ("", "http")):
        assert httpx2.get(url, headers={"X-Forwarded-Proto": scheme}).text == f"127.0.0.1 {seen}"
