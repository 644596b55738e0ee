"""Training loop of every model: stages with time budgets, resumable at any step, on CPU, CUDA or with torchrun."""

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
from torch.optim.swa_utils import AveragedModel

from sightline.training.checkpoints import Checkpoint, load_checkpoint, plain, save_checkpoint
from sightline.training.manifests import folder_digest
from sightline.training.runtime import Precision, Worker, autocast, fastest_precision, join_workers
from sightline.training.schedule import Progress, Run, Stage, Timer, learning_rate

log = logging.getLogger(__name__)
LOG_EVERY_STEPS = 100

StageT = TypeVar("StageT", bound=Stage)


class DataChangedError(ValueError):
    """The data of a run differ from those that its checkpoint names."""


class Batch(Protocol):
    """Tensors of one training step."""

    def to(self, device: torch.device) -> Self: ...


BatchT = TypeVar("BatchT", bound=Batch)
Score = Callable[[nn.Module, torch.device], float]
"""Quality of a network on the validation set; higher is better."""


class Task(Protocol[StageT, BatchT]):
    """A model's part of a training run; its config is saved in every checkpoint."""

    @property
    def config(self) -> Run: ...
    @property
    def stages(self) -> Sequence[StageT]: ...
    @property
    def network(self) -> nn.Module: ...

    def begin_stage(self, stage: StageT, device: torch.device) -> None:
        """Freezes what the stage freezes and loads what its losses need."""

    def batches(self, stage: StageT, *, start: int, step: int) -> Iterator[BatchT]:
        """Yields batches without end, from sample `start` on, taking every `step`th."""
        ...

    def losses(self, network: nn.Module, batch: BatchT, stage: StageT) -> Mapping[str, Tensor]:
        """Returns each weighted term by name; their sum is the loss."""
        ...

    def validator(self) -> Score: ...


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Returns an exponential moving average of weights and buffers, whose decay grows over the first steps."""

    def blend(average: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return new
        return average.lerp(new, 1 - min(decay, (2 + int(updates)) / (11 + int(updates))))

    average = AveragedModel(network, avg_fn=blend, use_buffers=True)
    average.module.eval()
    return average


class Job(Generic[StageT, BatchT]):
    """A run in one process: the network, its moving average, the optimiser and the progress."""

    def __init__(self, task: Task[StageT, BatchT], worker: Worker) -> None:
        self.task, self.worker, self.config = task, worker, task.config
        task.network.to(worker.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = moving_average(task.network, self.config.ema_decay)
        self.optimizer = new_optimizer(task.network, self.config)
        self.progress = Progress()
        self.model: nn.Module = task.network
        self.data = {name: folder_digest(Path(folder)) for name, folder in self.config.data_folders.items()}
        self.random_state: Tensor | None = None

    @property
    def last_path(self) -> Path:
        return Path(self.config.out_folder) / "last.pt"

    def resume(self) -> None:
        """Continues from the last checkpoint, if there is one; DataChangedError if it names other data."""
        if not self.last_path.exists():
            return
        saved = load_checkpoint(self.last_path)
        self._check_data(saved.get("data", {}))
        self.task.network.load_state_dict(saved["network"])
        self.average.module.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.progress = Progress(**saved["progress"])
        self.average.n_averaged.fill_(self.progress.step)
        self.random_state = saved.get("random_state")
        self._log_resumed(saved["config"])

    def _check_data(self, saved: Mapping[str, str]) -> None:
        if changed := [name for name, digest in saved.items() if self.data.get(name) != digest]:
            raise DataChangedError(
                f"{self.last_path} was trained on other data: the contents of {', '.join(changed)} have changed. "
                "Restore them, or train into another folder."
            )

    def _log_resumed(self, saved: Mapping[str, Any]) -> None:
        log.info("resumed at step %d", self.progress.step)
        config = plain(asdict(self.config))
        if changed := sorted(name for name in config if saved.get(name) != config[name]):
            log.warning("the configuration differs from the checkpoint's in %s", ", ".join(changed))

    def restore_random_state(self) -> None:
        """Continues the checkpoint's random numbers; only the leader's are saved."""
        if self.random_state is not None and self.worker.leads:
            torch.set_rng_state(self.random_state)
        self.random_state = None

    def save(self) -> None:
        last = {"optimizer": self.optimizer.state_dict(), "random_state": torch.get_rng_state()}
        save_checkpoint(self.last_path, self._checkpoint() | last)

    def save_best(self) -> None:
        save_checkpoint(self.last_path.with_name("best.pt"), self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        return {
            "config": asdict(self.config),
            "data": self.data,
            "progress": asdict(self.progress),
            "network": self.task.network.state_dict(),
            "average": self.average.module.state_dict(),
        }

    def begin_stage(self, stage: StageT) -> None:
        self.task.network.train()
        self.task.begin_stage(stage, self.worker.device)
        self.model = DistributedDataParallel(self.task.network) if self.worker.count > 1 else self.task.network

    def train_step(self, batch: BatchT, stage: StageT, precision: Precision) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, self.progress, self.config.warm_up_steps)
        losses = optimize(self.task, self.model, self.optimizer, batch, stage, precision)
        self.progress.step += 1
        self.average.update_parameters(self.task.network)
        return losses


def new_optimizer(network: nn.Module, config: Run) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=config.weight_decay)


def optimize(
    task: Task[StageT, BatchT],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: BatchT,
    stage: StageT,
    precision: Precision,
) -> dict[str, float]:
    """Runs one step and returns each term of the loss."""
    device = next(model.parameters()).device
    with autocast(device, precision):
        losses = task.losses(model, batch, stage)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), task.config.max_gradient_norm)
    optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def choose_precision(job: Job[StageT, BatchT], batch: BatchT, stage: StageT) -> Precision:
    """Returns the configured precision, the one a resumed stage began with, or the faster one on this machine."""
    if known := job.config.precision or job.progress.precision:
        return known
    # On a copy and with separate random numbers, so that neither weights nor later steps depend on it.
    trial = copy.deepcopy(job.task.network)
    optimizer = new_optimizer(trial, job.config)
    with torch.random.fork_rng():
        precision = fastest_precision(
            lambda name: optimize(job.task, trial, optimizer, batch, stage, name), job.worker.device
        )
    log.info("precision %s is the faster one here", precision)
    return precision


def train(make_task: Callable[[], Task[Any, Any]]) -> Progress:
    """Runs all stages, from the last checkpoint in the out folder if there is one."""
    with join_workers() as worker:
        job = Job(make_task(), worker)
        job.resume()
        validate = job.task.validator() if worker.leads else None
        for at in range(job.progress.stage, len(job.task.stages)):
            run_stage(job, job.task.stages[at], validate)
            job.progress.begin_stage(at + 1)
            if worker.leads:
                job.save()
        return job.progress


def run_stage(job: Job[StageT, BatchT], stage: StageT, validate: Score | None) -> None:
    job.begin_stage(stage)
    worker, progress, config = job.worker, job.progress, job.config
    start = progress.samples + worker.rank
    validation, saving = Timer(config.validate_every_minutes), Timer(config.save_every_minutes)
    batches = (batch.to(worker.device) for batch in job.task.batches(stage, start=start, step=worker.count))
    first = next(batches)
    progress.precision = choose_precision(job, first, stage)
    job.restore_random_state()
    clock = time.perf_counter()
    for batch in chain((first,), batches):
        losses = job.train_step(batch, stage, progress.precision)
        # All workers use the leader's clock; otherwise their learning rates and ends would differ.
        elapsed = worker.from_leader(time.perf_counter() - clock)
        progress.add(stage.batch_size * worker.count, elapsed)
        over = progress.stage_seconds >= 60 * stage.minutes
        if validate:
            if progress.step % LOG_EVERY_STEPS == 0:
                log_step(progress, losses, stage.batch_size * worker.count / elapsed)
            if validation.is_due(elapsed) or over:
                keep_if_best(job, validate(job.average.module, worker.device))
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
