"""A real fleet whose processes are killed again and again, and a client that does not give up."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import httpx2
import psutil

from sightline.cli.fleet import Fleet, free_port, listen_on, plan_fleet
from sightline.cli.supervisor import Program, ProgramExit, RestartPolicy, supervised

PATIENCE = RestartPolicy(first_wait_s=0.2, longest_wait_s=0.2)
STARTUP_LIMIT_S = 180
MARK = "CHAOS_NAME"
TRANSIENT = {500, 502, 503, 504}


@dataclass(slots=True)
class Chaos:
    """SIGKILLs one program after the other, round and round."""

    names: tuple[str, ...]
    interval_s: float
    kills: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        while True:
            for name in self.names:
                await asyncio.sleep(self.interval_s)
                self.kills[name] += kill(name)


def kill(name: str) -> int:
    """SIGKILL this program; 0 while it is just being started again."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if name_of(child) == name:
                child.send_signal(signal.SIGKILL)
                return 1
    return 0


def name_of(child: psutil.Process) -> str:
    # Redis writes its title over its environment.
    return "redis" if child.name() == "redis-server" else child.environ().get(MARK, "")


@asynccontextmanager
async def fleet_of_two_replicas(state: Path, socket: Path, settings: dict[str, str]) -> AsyncIterator[str]:
    """Redis, two inpainting services and the gateway; yields the gateway's address once all are ready."""
    os.environ |= settings
    fleet = plan_fleet(("inpaint",), host="127.0.0.1", port=free_port(), state=state, redis_socket=socket)
    programs = [marked(program) for program in with_second_replica(fleet)]
    async with supervised(*programs, policy=PATIENCE, notify=ignore):
        await until_ready(fleet.address)
        yield fleet.address


def with_second_replica(fleet: Fleet) -> Iterator[Program]:
    port = free_port()
    for program in chain.from_iterable(fleet.steps):
        if program.name == "gateway":
            yield replace(program, env={**program.env, **upstreams(program, port)})
        else:
            yield program
        if program.name == "inpaint":
            log = program.log.with_name("inpaint-2.log")
            yield replace(program, name="inpaint-2", env={**program.env, **listen_on("127.0.0.1", port)}, log=log)


def upstreams(gateway: Program, port: int) -> dict[str, str]:
    configured = json.loads(gateway.env["SIGHTLINE_UPSTREAMS"])
    return {"SIGHTLINE_UPSTREAMS": json.dumps({"inpaint": [*configured["inpaint"], f"http://127.0.0.1:{port}"]})}


def marked(program: Program) -> Program:
    return replace(program, env={**program.env, MARK: program.name})


def ignore(_: ProgramExit) -> None:
    pass


async def until_ready(address: str) -> None:
    give_up_at = time.monotonic() + STARTUP_LIMIT_S
    async with httpx2.AsyncClient(base_url=address, trust_env=False) as client:
        while True:
            with suppress(httpx2.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            assert time.monotonic() < give_up_at, "the fleet did not get ready"
            await asyncio.sleep(0.2)


async def persist(ask: Callable[[], Awaitable[httpx2.Response]], *, limit_s: float) -> httpx2.Response:
    """Ask until there is an answer that is not the fault of a dead process."""
    give_up_at = time.monotonic() + limit_s
    while True:
        with suppress(httpx2.TransportError):
            reply = await ask()
            if reply.status_code not in TRANSIENT:
                return reply
        assert time.monotonic() < give_up_at, "no answer in time"
        await asyncio.sleep(0.3)
