"""Configuration and progress of a training run, its stages and learning rates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sightline.training.runtime import Precision


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run. `minutes` is training time: a resumed stage uses the rest of it."""

    minutes: float
    crop_px: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float = 1e-6


@dataclass(frozen=True, slots=True)
class Run:
    """Configuration that the models share, saved in every checkpoint.

    `loaders` is the number of processes that make samples. `precision` is "fp32" or "bf16"; None times both at the
    start of each stage and takes the faster one.
    """

    train_store: str
    validation_folder: str
    out_folder: str
    seed: int = 0
    validate_every_minutes: float = 5.0
    save_every_minutes: float = 2.0
    precision: Precision | None = None
    start_weights: str | None = None
    loaders: int = 1
    weight_decay: float = 1e-4
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999
    warm_up_steps: int = 200

    @property
    def data_folders(self) -> Mapping[str, str]:
        """Folders whose contents the run depends on, by the name of their setting."""
        return {"train_store": self.train_store, "validation_folder": self.validation_folder}


@dataclass(slots=True)
class Progress:
    """State of a run. `samples` is also the position in the data; `precision` is the current stage's."""

    stage: int = 0
    precision: Precision | None = None
    stage_seconds: float = 0.0
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf

    def begin_stage(self, stage: int) -> None:
        self.stage, self.stage_seconds, self.precision = stage, 0.0, None

    def add(self, samples: int, elapsed_s: float) -> None:
        self.samples += samples
        self.seconds += elapsed_s
        self.stage_seconds += elapsed_s


@dataclass(slots=True)
class Timer:
    """A timer that is due at every interval of `minutes` of training time."""

    minutes: float
    passed_s: float = 0.0

    def is_due(self, elapsed_s: float) -> bool:
        self.passed_s += elapsed_s
        due = self.passed_s >= 60 * self.minutes
        if due:
            self.passed_s = 0.0
        return due


def learning_rate(stage: Stage, progress: Progress, warm_up_steps: int) -> float:
    """Returns a linear warm-up over the first steps of the run times a cosine over the stage's time budget."""
    done = min(progress.stage_seconds / (60 * stage.minutes), 1.0)
    span = stage.learning_rate - stage.final_learning_rate
    cosine = stage.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2
    return cosine * min(1.0, (progress.step + 1) / warm_up_steps)
