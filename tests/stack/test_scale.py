"""Several replicas of a service behind one gateway: work spreads, none is lost, renewing drops nothing."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import httpx2
import pytest

from tests.stack.compose import FILES, PROJECT, ROOT, Stack, compose_command, logs, until
from tests.stack.crops import Task, make_tasks, spread

pytestmark = [pytest.mark.stack, pytest.mark.anyio]

REPLICAS = 3
TASKS = 90
LIMIT_S = 300.0
FAIR = 0.6  # of an equal share, the least that a replica may get


@pytest.fixture(scope="module")
def three(stack: Stack) -> Iterator[Stack]:
    stack.scale("inpaint", REPLICAS)
    yield stack
    stack.scale("inpaint", 1)


@pytest.fixture
async def http(three: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=three.gateway, timeout=60, trust_env=False) as client:
        yield client


def done_by(stack: Stack, mark: str) -> list[int]:
    """How many log lines with this mark each replica has written."""
    return [logs([container]).count(mark) for container in stack.containers("inpaint")]


async def until_done(condition: Callable[[], Awaitable[bool]]) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while not await condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        await asyncio.sleep(1)


async def submit(http: httpx2.AsyncClient, task: Task) -> str:
    files = {"image": task.photo_png, "mask": task.mask_png}
    reply = await http.post("/v1/inpaint", headers={"Prefer": "respond-async"}, files=files)
    assert reply.status_code == 202, reply.text
    return str(reply.headers["location"])


async def states(http: httpx2.AsyncClient, jobs: list[str]) -> Counter[str]:
    return Counter([(await http.get(job)).json()["state"] for job in jobs])


async def test_requests_spread_evenly(three: Stack, http: httpx2.AsyncClient) -> None:
    before = done_by(three, '"route": "/v1/inpaint"')

    async def ask(task: Task) -> None:
        task.check(await http.post("/v1/inpaint", files={"image": task.photo_png, "mask": task.mask_png}))

    await spread(make_tasks(TASKS), ask)
    shares = [after - earlier for after, earlier in zip(done_by(three, '"route": "/v1/inpaint"'), before, strict=True)]
    print(f"{TASKS} requests: {shares}")
    assert sum(shares) == TASKS
    assert min(shares) > FAIR * TASKS / REPLICAS


async def test_jobs_spread_evenly(three: Stack, http: httpx2.AsyncClient) -> None:
    before = done_by(three, '"event": "job"')
    jobs: list[str] = []

    async def ask(task: Task) -> None:
        jobs.append(await submit(http, task))

    await spread(make_tasks(TASKS), ask)
    await until_done(lambda: all_succeeded(http, jobs))
    shares = [after - earlier for after, earlier in zip(done_by(three, '"event": "job"'), before, strict=True)]
    print(f"{TASKS} jobs: {shares}")
    assert min(shares) > FAIR * TASKS / REPLICAS


async def all_succeeded(http: httpx2.AsyncClient, jobs: list[str]) -> bool:
    return (await states(http, jobs))["succeeded"] == len(jobs)


async def test_a_replica_killed_and_one_cut_off_lose_nothing(three: Stack, http: httpx2.AsyncClient) -> None:
    tasks = make_tasks(TASKS)
    jobs: dict[int, str] = {}

    async def ask(task: Task) -> None:
        jobs[task.number] = await submit(http, task)

    await spread(tasks, ask)
    killed, cut_off, _ = three.containers("inpaint")
    network = three.client.networks.get(f"{PROJECT}_fleet")
    killed.kill()
    network.disconnect(cut_off)
    try:
        await until_done(lambda: all_succeeded(http, list(jobs.values())))
    finally:
        network.connect(cut_off, aliases=["inpaint"])
        killed.start()

    async def check(task: Task) -> None:
        task.check(await http.get(f"{jobs[task.number]}/result"))
        told = await http.get(f"{jobs[task.number]}/events")
        assert told.text.count("event: succeeded") == 1

    await spread(tasks, check)
    until(lambda: three.replicas("inpaint") == (REPLICAS, REPLICAS))


async def test_a_new_version_drops_no_request(three: Stack, http: httpx2.AsyncClient) -> None:
    old = {container.id for container in three.containers("inpaint")}
    rolling = asyncio.create_task(asyncio.to_thread(roll, three))
    replies: Counter[int] = Counter()

    async def keep_asking(task: Task) -> None:
        files = {"image": task.photo_png, "mask": task.mask_png}
        while not rolling.done():
            replies[(await http.post("/v1/inpaint", files=files)).status_code] += 1

    await asyncio.gather(*(keep_asking(task) for task in make_tasks(4)))
    await rolling
    print(f"replies while all replicas were renewed: {dict(replies)}")
    assert set(replies) == {200}
    assert replies[200] > 20
    new = {container.id for container in three.containers("inpaint")}
    assert len(new) == REPLICAS
    assert not new & old


def roll(stack: Stack) -> None:
    files = [part for file in FILES for part in ("-f", str(file))]
    compose = " ".join([*compose_command(), "-p", PROJECT, "--project-directory", str(ROOT), *files])
    command = [str(ROOT / "deploy" / "docker" / "roll.sh"), "inpaint"]
    environment = {**stack.environment, "COMPOSE": compose}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_a_gateway_that_is_killed_takes_no_job_with_it(three: Stack, http: httpx2.AsyncClient) -> None:
    jobs = [await submit(http, task) for task in make_tasks(20)]
    (gateway,) = three.containers("gateway")
    gateway.kill()
    gateway.start()

    async def back() -> bool:
        with suppress(httpx2.TransportError):
            return (await http.get("/readyz")).status_code == 200
        return False

    await until_done(back)
    await until_done(lambda: all_succeeded(http, jobs))
