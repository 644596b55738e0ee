"""Capacity model of a fleet: `python deploy/capacity.py` prints the tables of docs/scaling.md.

A free replica takes all queued samples up to its largest batch; a batch of n takes a + b n seconds. With Poisson
arrivals this is a bulk-service queue. It is solved by the Markov chain of the queue length after each run (Neuts,
1967), and checked by simulation.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STATES = 400  # longest queue of the Markov chain
H100_TF32_GFLOPS = 494_700.0  # dense, SXM, from the data sheet


@dataclass(frozen=True, slots=True)
class Replica:
    """A model replica; a batch of n takes `fixed_s` + `each_s` * n seconds."""

    fixed_s: float
    each_s: float
    max_batch: int = 1

    def run_s(self, count: int) -> float:
        return self.fixed_s + self.each_s * count

    @property
    def capacity_per_s(self) -> float:
        return self.max_batch / self.run_s(self.max_batch)


def mean_response_s(replica: Replica, rate_per_s: float) -> float:
    """Mean time of a request from its arrival to the end of its run; infinite at capacity and beyond."""
    if rate_per_s >= replica.capacity_per_s:
        return float("inf")
    left = _left_behind(replica, rate_per_s)
    waiting = cycles_s = 0.0
    for count, probability in enumerate(left):
        taken = min(max(count, 1), replica.max_batch)
        run_s = replica.run_s(taken)
        idle_s = 1 / rate_per_s if count == 0 else 0.0
        there = max(count, 1) * run_s + rate_per_s * run_s**2 / 2
        waiting += probability * there
        cycles_s += probability * (idle_s + run_s)
    return waiting / cycles_s / rate_per_s


def _left_behind(replica: Replica, rate_per_s: float) -> NDArray[np.float64]:
    """Probabilities that a run leaves 0, 1, 2, ... requests waiting."""
    arrivals = {count: _poisson(rate_per_s * replica.run_s(count)) for count in range(1, replica.max_batch + 1)}
    chain = np.zeros((STATES, STATES))
    for before in range(STATES):
        taken = min(max(before, 1), replica.max_batch)
        kept = max(before, 1) - taken
        chain[before, kept:] = arrivals[taken][: STATES - kept]
        chain[before, -1] += 1 - chain[before].sum()
    equations = np.vstack([chain.T - np.eye(STATES), np.ones(STATES)])
    solution, *_ = np.linalg.lstsq(equations, np.append(np.zeros(STATES), 1.0), rcond=None)
    probabilities: NDArray[np.float64] = np.clip(solution, 0, None)
    return probabilities


def _poisson(mean: float) -> NDArray[np.float64]:
    counts = np.arange(STATES)
    logarithms = counts * np.log(mean) - mean - np.append(0.0, np.cumsum(np.log(counts[1:])))
    probabilities: NDArray[np.float64] = np.exp(logarithms)
    return probabilities


def simulate(replica: Replica, rate_per_s: float, *, replicas: int = 1, requests: int = 20_000, seed: int = 0) -> float:
    """Simulated mean response in seconds; each request goes to the least loaded replica, as in the gateway."""
    rng = np.random.default_rng(seed)
    queues: list[list[float]] = [[] for _ in range(replicas)]
    running = [0] * replicas
    ends: list[tuple[float, int]] = []
    total_s = 0.0
    for arrival in _arrivals(rng, rate_per_s, requests):
        while ends and ends[0][0] <= arrival:
            total_s += _finish(replica, queues, running, ends)
        least = min(len(queue) + count for queue, count in zip(queues, running, strict=True))
        ties = [at for at in range(replicas) if len(queues[at]) + running[at] == least]
        chosen = int(rng.choice(ties))
        queues[chosen].append(arrival)
        if not running[chosen]:
            total_s += _begin(replica, queues, running, ends, chosen, arrival)
    while ends:
        total_s += _finish(replica, queues, running, ends)
    return total_s / requests


def _arrivals(rng: np.random.Generator, rate_per_s: float, requests: int) -> Iterator[float]:
    yield from map(float, np.cumsum(rng.exponential(1 / rate_per_s, size=requests)))


def _begin(
    replica: Replica, queues: list[list[float]], running: list[int], ends: list[tuple[float, int]], at: int, now: float
) -> float:
    """Starts a batch; returns the sum of the response times in it."""
    batch, queues[at] = queues[at][: replica.max_batch], queues[at][replica.max_batch :]
    running[at] = len(batch)
    if not batch:
        return 0.0
    end = now + replica.run_s(len(batch))
    heapq.heappush(ends, (end, at))
    return sum(end - arrival for arrival in batch)


def _finish(replica: Replica, queues: list[list[float]], running: list[int], ends: list[tuple[float, int]]) -> float:
    now, at = heapq.heappop(ends)
    return _begin(replica, queues, running, ends, at, now)


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Cost of one photo of 960 x 400 px.

    Samples and their work are counted in the graph; processor time beside the session is measured.
    """

    name: str
    samples: int
    gflop_per_sample: float
    other_core_s: float


# Assumptions: the peak of the data sheet, the share of it that such networks reach, and the overhead of a run.
H100_SHARE_REACHED = 0.1
RUN_OVERHEAD_S = 0.0015
CORES_PER_GPU = 26
MAX_BATCH = 8

MODELS = (
    ModelCost("inpaint", 3, 19.5, 0.413),
    ModelCost("hdr-correct", 1, 0.24, 0.133),
    ModelCost("hra-screening", 4, 2.62, 0.009),
    ModelCost("hoi", 1, 2.58, 0.008),
    ModelCost("svbrdf", 2, 5.22, 0.304),
)


def on_h100(model: ModelCost) -> Replica:
    """A replica on one H100; its requests are samples, not photos."""
    each_s = model.gflop_per_sample / (H100_SHARE_REACHED * H100_TF32_GFLOPS)
    return Replica(RUN_OVERHEAD_S, each_s, MAX_BATCH)


def print_waiting() -> None:
    print("| load | model | played |\n|---|---|---|")
    replica = Replica(fixed_s=0.0, each_s=1.0)
    for load in (0.3, 0.5, 0.7, 0.85, 0.95):
        print(f"| {load} | {mean_response_s(replica, load):.2f} | {simulate(replica, load, requests=50_000):.2f} |")


def print_replicas() -> None:
    print("| replicas | " + " | ".join(f"load {load}" for load in (0.5, 0.7, 0.9)) + " |\n|---|---|---|---|")
    replica = Replica(fixed_s=0.0, each_s=1.0)
    for replicas in (1, 2, 4, 16):
        played = [simulate(replica, load * replicas, replicas=replicas) for load in (0.5, 0.7, 0.9)]
        print(f"| {replicas} | " + " | ".join(f"{response_s:.2f}" for response_s in played) + " |")


def print_h100() -> None:
    print("| model | GPU alone, photos/s | its cores alone, photos/s | the node | GPU busy |\n|---|---|---|---|---|")
    for model in MODELS:
        gpu = on_h100(model).capacity_per_s / model.samples
        cores = CORES_PER_GPU / model.other_core_s
        print(
            f"| {model.name} | {gpu:.0f} | {cores:.0f} | {min(gpu, cores):.0f} | {100 * min(1.0, cores / gpu):.0f} % |"
        )


if __name__ == "__main__":
    for table in (print_waiting, print_replicas, print_h100):
        table()
        print()
