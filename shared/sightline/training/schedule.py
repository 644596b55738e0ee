"""What a run of any model depends on: where it reads and writes, and its stages."""

import math
from dataclasses import dataclass

from sightline.training.runtime import Precision

WARM_UP_STEPS = 200


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run. `minutes` of training time, not of the clock: a resumed stage uses what is left."""

    minutes: float
    crop_px: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float = 1e-6


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a run depends on, but for what a model adds; saved inside its checkpoints. `loaders` is how many
    processes make samples beside the training."""

    train_store: str
    validation_folder: str
    out_folder: str
    seed: int = 0
    validate_every_minutes: float = 5.0
    save_every_minutes: float = 2.0
    precision: Precision | None = None
    start_weights: str | None = None
    loaders: int = 1


@dataclass(slots=True)
class Progress:
    """Where a run stands; `samples` is also the position in the data."""

    stage: int = 0
    stage_seconds: float = 0.0
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf

    def add(self, samples: int, elapsed_s: float) -> None:
        self.samples += samples
        self.seconds += elapsed_s
        self.stage_seconds += elapsed_s


@dataclass(slots=True)
class Timer:
    """Comes due every so many minutes of training time."""

    minutes: float
    passed_s: float = 0.0

    def is_due(self, elapsed_s: float) -> bool:
        self.passed_s += elapsed_s
        due = self.passed_s >= 60 * self.minutes
        if due:
            self.passed_s = 0.0
        return due


def learning_rate(stage: Stage, progress: Progress) -> float:
    """Linear warm-up at the start of the run, then a cosine over the stage's time budget."""
    done = min(progress.stage_seconds / (60 * stage.minutes), 1.0)
    span = stage.learning_rate - stage.final_learning_rate
    cosine = stage.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2
    return cosine * min(1.0, (progress.step + 1) / WARM_UP_STEPS)
