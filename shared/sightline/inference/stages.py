"""Durations of the stages of a request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Stage(StrEnum):
    """The stages of a request, in their order."""

    READ = "read"
    DECODE = "decode"
    QUEUE = "queue"
    INFER = "infer"
    ENCODE = "encode"


class Stages:
    """Seconds by stage; a stage that occurs several times adds up.

    `current` is the stage that began last; `share` is the completed part of a plan, 0..1, where it reports one.
    """

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self.current: Stage | None = None
        self.share: float | None = None

    def add(self, stage: Stage, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        self.current, started = stage, time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    @property
    def milliseconds(self) -> dict[str, float]:
        return {stage.value: round(seconds * 1e3, 2) for stage, seconds in self.seconds.items()}

    @property
    def server_timing(self) -> str:
        """The value of a Server-Timing header, in milliseconds."""
        return ", ".join(f"{stage};dur={self.seconds[stage] * 1e3:.1f}" for stage in Stage if stage in self.seconds)
