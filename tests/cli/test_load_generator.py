import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from sightline.api.media_types import JSON
from sightline.cli.load_generator import LoadTestJob, run_load

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/hra-screening", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8 not really")
    return file


def job(url: str, photo: Path, *, connections: int, requests: int) -> LoadTestJob:
    return LoadTestJob(
        url=url,
        model="hra_screening",
        accept=JSON,
        pictures={"image": photo},
        api_key="secret",
        connections=connections,
        requests=requests,
    )


def reply(status: int = 200) -> web.Response:
    return web.json_response({}, status=status)


@pytest.mark.anyio
async def test_sends_the_pictures_as_often_as_asked(photo: Path) -> None:
    received: list[bytes] = []

    async def receive(request: web.Request) -> web.Response:
        form = await request.post()
        picture = form["image"]
        assert isinstance(picture, web.FileField)
        received.append(picture.file.read())
        assert (request.headers["Accept"], request.headers["Authorization"]) == (JSON, "Bearer secret")
        return reply()

    async with serving(receive) as url:
        report = await run_load(job(url, photo, connections=3, requests=10))
    assert received == [photo.read_bytes()] * 10
    assert len(report.latencies_s) == 10
    assert report.failures == {}
    assert report.elapsed_s >= max(report.latencies_s)
    assert report.cpu_s > 0


@pytest.mark.anyio
async def test_load_generator_keeps_the_given_number_of_requests_in_flight(photo: Path) -> None:
    under_way = 0
    everyone = asyncio.Event()
    peers: set[object] = set()

    async def hold(request: web.Request) -> web.Response:
        nonlocal under_way
        under_way += 1
        peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        if under_way == 40:
            everyone.set()
        await asyncio.wait_for(everyone.wait(), 30)
        return reply()

    async with serving(hold) as url:
        await run_load(job(url, photo, connections=40, requests=120))
    assert len(peers) == 40


@pytest.mark.anyio
async def test_load_generator_counts_failures_by_status(photo: Path) -> None:
    answers = iter([200, 503, 503, 400])

    async def answer(_: web.Request) -> web.Response:
        return reply(next(answers))

    async with serving(answer) as url:
        report = await run_load(job(url, photo, connections=1, requests=4))
    assert (len(report.latencies_s), report.failures) == (1, {503: 2, 400: 1})


@pytest.mark.anyio
async def test_load_generator_counts_broken_connections(photo: Path) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return reply()

    async with serving(hang_up) as url:
        report = await run_load(job(url, photo, connections=1, requests=2))
    assert report.failures == {0: 2}
