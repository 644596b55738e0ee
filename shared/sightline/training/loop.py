"""The training loop of every model: stages with a time budget each, resumable at any moment, on CPU, CUDA or under
torchrun."""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sightline.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from sightline.training.runtime import Precision, Worker, autocast, fastest_precision, join_workers
from sightline.training.schedule import Progress, Run, Stage, Timer, learning_rate

log = logging.getLogger(__name__)
LOG_EVERY_STEPS = 100
EMA_DECAY = 0.999
MAX_GRADIENT_NORM = 1.0

StageT = TypeVar("StageT", bound=Stage)


class Batch(Protocol):
    """Tensors that belong together."""

    def to(self, device: torch.device) -> Self: ...


BatchT = TypeVar("BatchT", bound=Batch)
Score = Callable[[nn.Module, torch.device], float]
"""How good a network is on the validation set; higher is better."""


class Task(Protocol[StageT, BatchT]):
    """What a model brings to the loop; its config is saved in every checkpoint."""

    @property
    def config(self) -> Run: ...
    @property
    def stages(self) -> Sequence[StageT]: ...
    @property
    def network(self) -> nn.Module: ...

    def begin_stage(self, stage: StageT, device: torch.device) -> None:
        """Get ready: freeze what the stage freezes, load what its losses need."""

    def batches(self, stage: StageT, *, start: int, step: int) -> Iterator[BatchT]:
        """Endless, from sample `start` on, taking every `step`th."""
        ...

    def losses(self, network: nn.Module, batch: BatchT, stage: StageT) -> Mapping[str, Tensor]:
        """Each term with its weight applied, by name; their sum is the loss."""
        ...

    def validator(self) -> Score: ...


class Job(Generic[StageT, BatchT]):
    """A run in one process: the network, its moving average, the optimiser and the progress."""

    def __init__(self, task: Task[StageT, BatchT], worker: Worker) -> None:
        self.task, self.worker = task, worker
        task.network.to(worker.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(task.network).eval()
        self.optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-4, weight_decay=1e-4)
        self.progress = Progress()
        self.model: nn.Module = task.network

    @property
    def last_path(self) -> Path:
        return Path(self.task.config.out_folder) / "last.pt"

    def resume(self) -> None:
        if not self.last_path.exists():
            return
        saved = load_checkpoint(self.last_path)
        self.task.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.progress = Progress(**saved["progress"])
        log.info("resumed at step %d", self.progress.step)

    def save(self) -> None:
        save_checkpoint(self.last_path, self._checkpoint() | {"optimizer": self.optimizer.state_dict()})

    def save_best(self) -> None:
        save_checkpoint(self.last_path.with_name("best.pt"), self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        return {
            "config": asdict(self.task.config),
            "progress": asdict(self.progress),
            "network": self.task.network.state_dict(),
            "average": self.average.state_dict(),
        }

    def begin_stage(self, stage: StageT) -> None:
        self.task.network.train()
        self.task.begin_stage(stage, self.worker.device)
        self.model = DistributedDataParallel(self.task.network) if self.worker.count > 1 else self.task.network

    def train_step(self, batch: BatchT, stage: StageT, precision: Precision) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, self.progress)
        losses = optimize(self.task, self.model, self.optimizer, batch, stage, precision)
        self.progress.step += 1
        self._update_average()
        return losses

    def _update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.progress.step) / (10 + self.progress.step))
        states = zip(self.average.state_dict().values(), self.task.network.state_dict().values(), strict=True)
        with torch.no_grad():
            for kept, new in states:
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)


def optimize(
    task: Task[StageT, BatchT],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: BatchT,
    stage: StageT,
    precision: Precision,
) -> dict[str, float]:
    """One step; what each term of the loss came to."""
    device = next(model.parameters()).device
    with autocast(device, precision):
        losses = task.losses(model, batch, stage)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def choose_precision(job: Job[StageT, BatchT], batch: BatchT, stage: StageT) -> Precision:
    """Time steps of a throw-away copy, so that the real network is not touched."""
    if job.task.config.precision:
        return job.task.config.precision
    trial = copy.deepcopy(job.task.network)
    optimizer = torch.optim.AdamW(trial.parameters(), lr=1e-4)
    precision = fastest_precision(
        lambda name: optimize(job.task, trial, optimizer, batch, stage, name), job.worker.device
    )
    log.info("precision %s is the faster one here", precision)
    return precision


def train(make_task: Callable[[], Task[Any, Any]]) -> Progress:
    """Run all stages, from the last checkpoint in the out folder if there is one."""
    with join_workers() as worker:
        job = Job(make_task(), worker)
        job.resume()
        validate = job.task.validator() if worker.leads else None
        for at in range(job.progress.stage, len(job.task.stages)):
            run_stage(job, job.task.stages[at], validate)
            job.progress.stage, job.progress.stage_seconds = at + 1, 0.0
            if worker.leads:
                job.save()
        return job.progress


def run_stage(job: Job[StageT, BatchT], stage: StageT, validate: Score | None) -> None:
    job.begin_stage(stage)
    worker, progress, config = job.worker, job.progress, job.task.config
    start = progress.samples + worker.rank
    validation, saving = Timer(config.validate_every_minutes), Timer(config.save_every_minutes)
    batches = (batch.to(worker.device) for batch in job.task.batches(stage, start=start, step=worker.count))
    first = next(batches)
    precision = choose_precision(job, first, stage)
    clock = time.perf_counter()
    for batch in chain((first,), batches):
        losses = job.train_step(batch, stage, precision)
        # Every worker goes by the leader's clock, or their learning rates and ends would drift apart.
        elapsed = worker.from_leader(time.perf_counter() - clock)
        progress.add(stage.batch_size * worker.count, elapsed)
        over = progress.stage_seconds >= 60 * stage.minutes
        if validate:
            if progress.step % LOG_EVERY_STEPS == 0:
                log_step(progress, losses, stage.batch_size * worker.count / elapsed)
            if validation.is_due(elapsed) or over:
                keep_if_best(job, validate(job.average, worker.device))
            elif saving.is_due(elapsed):
                job.save()
        if over:
            return
        clock = time.perf_counter()


def log_step(progress: Progress, losses: Mapping[str, float], rate: float) -> None:
    terms = " ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    log.info("step %d samples %d %.0f s %.1f img/s: %s", progress.step, progress.samples, progress.seconds, rate, terms)


def keep_if_best(job: Job[StageT, BatchT], score: float) -> None:
    if score > job.progress.best_score:
        job.progress.best_score = score
        job.save_best()
    job.save()
