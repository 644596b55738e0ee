"""A model of how long batches take: measured while warming, updated while serving."""

import time
from collections.abc import Mapping

from sightline.inference.contract import ContractError
from sightline.inference.engine import Session
from sightline.inference.signature import BucketKey, ModelSignature, Tensors

SMOOTHING = 0.2
MAX_RELATIVE_COST = 0.95
LONG_RUN_S = 0.1
"""Runs of this length gain nothing from more samples: what a run costs beyond its samples is a few milliseconds."""
TIMED_RUNS = 3


class LatencyModel:
    """Seconds per run for each bucket and batch size, for the sizes that were worth warming."""

    def __init__(self, measured: Mapping[BucketKey, Mapping[int, float]]) -> None:
        self._seconds = {key: dict(sorted(seconds.items())) for key, seconds in measured.items()}

    def largest_batch(self, key: BucketKey, available: int) -> int:
        """Returns the most samples to run at once: only warmed sizes, so that a device never meets a new shape."""
        return max(size for size in self._seconds[key] if size <= available)

    def estimate_s(self, key: BucketKey, count: int) -> float:
        seconds = 0.0
        while count > 0:
            size = self.largest_batch(key, count)
            runs, count = divmod(count, size)
            seconds += runs * self._seconds[key][size]
        return seconds

    def observe(self, key: BucketKey, size: int, seconds: float) -> None:
        before = self._seconds[key].get(size, seconds)
        self._seconds[key][size] = before + SMOOTHING * (seconds - before)

    @property
    def sizes(self) -> dict[BucketKey, tuple[int, ...]]:
        return {key: tuple(seconds) for key, seconds in self._seconds.items()}


def warm(session: Session, signature: ModelSignature, *, max_batch: int) -> LatencyModel:
    """Runs every bucket, and doubles the batch as long as that makes a sample cheaper.

    On a CPU a batch of two mostly takes twice as long as one and only adds latency, so that one is the largest. Batches
    of samples that take long by themselves are not tried, as they would only need more memory.
    """
    limit = min(max_batch, session.max_batch or max_batch)
    return LatencyModel({key: _warm_bucket(session, signature, key, limit) for key in signature.keys})


def _warm_bucket(session: Session, signature: ModelSignature, key: BucketKey, limit: int) -> dict[int, float]:
    measured = {1: _time_run(session, signature, key, 1)}
    size = 2
    while size <= limit and measured[size // 2] < LONG_RUN_S:
        seconds = _time_run(session, signature, key, size)
        if seconds / size > MAX_RELATIVE_COST * measured[size // 2] / (size // 2):
            break
        measured[size] = seconds
        size *= 2
    return measured


def _time_run(session: Session, signature: ModelSignature, key: BucketKey, size: int) -> float:
    """Returns the seconds of the fastest of a few runs, after one that allocates, and searches or builds kernels.

    The fastest, because work of other processes only delays a run: one delayed run of a small batch would make a larger
    one look cheap, which needs its memory for nothing.
    """
    batch = signature.blank(key, batch=size)
    _check_outputs(session.run(batch), signature, key, size)
    seconds: list[float] = []
    while len(seconds) < TIMED_RUNS and sum(seconds) < TIMED_RUNS * LONG_RUN_S:
        started = time.perf_counter()
        session.run(batch)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _check_outputs(outputs: Tensors, signature: ModelSignature, key: BucketKey, size: int) -> None:
    """Raises ContractError where outputs have wrong shapes; graphs leave sizes open until a run."""
    for spec, shape in zip(signature.outputs, signature.output_shapes(key), strict=True):
        if outputs[spec.name].shape != (size, *shape):
            found = outputs[spec.name].shape
            raise ContractError(f"output {spec.name!r}: expected a batch of shape {(size, *shape)}, got {found}")
