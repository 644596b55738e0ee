"""An open loop of requests: they come when they come, however slow the answers are."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
import numpy as np
from docker.models.containers import Container


@dataclass(slots=True)
class Tally:
    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def mean_s(self) -> float:
        return float(np.mean(self.latencies_s))

    def quantile_s(self, q: float) -> float:
        return float(np.quantile(self.latencies_s, q))


async def open_loop(url: str, files: Mapping[str, bytes], *, rate_per_s: float, duration_s: float, seed: int) -> Tally:
    """Poisson arrivals; a latency counts from the moment at which the request was due."""
    gaps_s = np.random.default_rng(seed).exponential(1 / rate_per_s, size=int(2 * rate_per_s * duration_s) + 10)
    due_s = [float(at) for at in np.cumsum(gaps_s) if at < duration_s]
    tally, started = Tally(), time.monotonic()
    async with httpx2.AsyncClient(timeout=120, trust_env=False, limits=httpx2.Limits(max_connections=1000)) as http:

        async def ask(at_s: float) -> None:
            await asyncio.sleep(started + at_s - time.monotonic())
            reply = await http.post(url, files=dict(files))
            if reply.status_code == httpx2.codes.OK:
                tally.latencies_s.append(time.monotonic() - started - at_s)
            else:
                tally.refused += 1

        await asyncio.gather(*(ask(at_s) for at_s in due_s))
    return tally


def cpu_s(container: Container) -> float:
    """Processor time that a container has taken so far."""
    stats = container.stats(stream=False, one_shot=True)
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def memory_bytes(container: Container) -> int:
    return int(container.stats(stream=False, one_shot=True)["memory_stats"]["usage"])
