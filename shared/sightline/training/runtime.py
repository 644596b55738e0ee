"""Device, precision and process group of a training job."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

Precision = str  # "fp32" or "bf16"
TIMED_STEPS = 4


@dataclass(frozen=True, slots=True)
class Worker:
    """Rank of this process among the processes of torchrun; without torchrun, worker 0 of 1."""

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def from_leader(self, value: float) -> float:
        """The leader's value, on every worker."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)


@contextmanager
def join_workers() -> Iterator[Worker]:
    """Joins the process group that torchrun describes in the environment, if any."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # TF32: fp32 on tensor cores
    if count > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Worker(rank, count, device)
    finally:
        if count > 1:
            dist.destroy_process_group()


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def fastest_precision(step: Callable[[Precision], object], device: torch.device) -> Precision:
    """Times some training steps in fp32 and bf16 and returns the faster precision.

    The processor's name does not decide it: with AMX tiles bf16 is several times faster than fp32, with AVX-512 BF16
    alone half as fast.
    """
    seconds = {precision: _time_steps(step, precision, device) for precision in ("fp32", "bf16")}
    return min(seconds, key=lambda precision: seconds[precision])


def _time_steps(step: Callable[[Precision], object], precision: Precision, device: torch.device) -> float:
    step(precision)
    _wait_for(device)
    started = time.perf_counter()
    for _ in range(TIMED_STEPS):
        step(precision)
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
