"""The training loop: stages with a time budget each, resumable at any moment, on CPU, CUDA or under torchrun."""

import copy
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sightline.networks.partial_conv import PartialConvUNet
from sightline.training.backbones import load_features
from sightline.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from sightline.training.inpaint.config import Stage, TrainConfig
from sightline.training.inpaint.data import Batch, HoledPhotos, batches
from sightline.training.inpaint.export import load_exported
from sightline.training.inpaint.losses import Features, inpainting_losses
from sightline.training.inpaint.validation import Validator
from sightline.training.photos import PhotoStore
from sightline.training.runtime import Precision, Worker, autocast, fastest_precision, join_workers

log = logging.getLogger(__name__)
WARM_UP_STEPS = 200
LOG_EVERY_STEPS = 100
EMA_DECAY = 0.999
MAX_GRADIENT_NORM = 1.0


@dataclass(slots=True)
class Progress:
    """Where a run stands; `samples` is also the position in the data."""

    stage: int = 0
    stage_seconds: float = 0.0
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best_psnr_db: float = -math.inf

    def add(self, samples: int, elapsed_s: float) -> None:
        self.samples += samples
        self.seconds += elapsed_s
        self.stage_seconds += elapsed_s


class Job:
    """A run in one process: the network, its moving average, the optimiser and the progress."""

    def __init__(self, config: TrainConfig, worker: Worker) -> None:
        torch.manual_seed(config.seed)
        self.config, self.worker = config, worker
        network = PartialConvUNet(config.network).to(worker.device)
        if config.start_weights:
            load_exported(network, Path(config.start_weights))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, weight_decay=1e-4)
        self.progress = Progress()
        self.features: Features | None = None
        self.model: nn.Module = self.network

    @property
    def last_path(self) -> Path:
        return Path(self.config.out_folder) / "last.pt"

    def resume(self) -> None:
        if not self.last_path.exists():
            return
        saved = load_checkpoint(self.last_path)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.progress = Progress(**saved["progress"])
        log.info("resumed at step %d", self.progress.step)

    def save(self) -> None:
        save_checkpoint(self.last_path, self._checkpoint() | {"optimizer": self.optimizer.state_dict()})

    def save_best(self) -> None:
        save_checkpoint(Path(self.config.out_folder) / "best.pt", self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        return {
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
        }

    def begin_stage(self, stage: Stage) -> None:
        self.network.freeze_encoder_norm = stage.freeze_encoder_norm
        self.network.train()
        if stage.losses.needs_features and self.features is None:
            self.features = load_features(self.config.backbone).to(self.worker.device)
        self.model = DistributedDataParallel(self.network) if self.worker.count > 1 else self.network

    def train_step(self, batch: Batch, stage: Stage, precision: Precision) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, self.progress)
        with autocast(self.worker.device, precision):
            predicted = self.model(batch.image, batch.valid)
            losses = inpainting_losses(predicted, batch, stage.losses, self.features)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.progress.step += 1
        self._update_average()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for kept, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)


def learning_rate(stage: Stage, progress: Progress) -> float:
    """Linear warm-up at the start of the run, then a cosine over the stage's time budget."""
    done = min(progress.stage_seconds / (60 * stage.minutes), 1.0)
    span = stage.learning_rate - stage.final_learning_rate
    cosine = stage.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2
    return cosine * min(1.0, (progress.step + 1) / WARM_UP_STEPS)


def choose_precision(config: TrainConfig, stage: Stage, worker: Worker) -> Precision:
    """Time steps of a throw-away job, so that the real one is not touched."""
    if config.precision:
        return config.precision
    trial = Job(replace(config, seed=config.seed + 1), worker)
    trial.begin_stage(replace(stage, losses=replace(stage.losses, perceptual=0, style=0)))
    size = (stage.batch_size, 3, stage.crop_px, stage.crop_px)
    batch = Batch(torch.rand(size), torch.ones(size)[:, :1]).to(worker.device)
    precision = fastest_precision(lambda name: trial.train_step(batch, stage, name), worker.device)
    log.info("precision %s is the faster one here", precision)
    return precision


def train(config: TrainConfig) -> Progress:
    """Run all stages, from the last checkpoint in the out folder if there is one."""
    with join_workers() as worker:
        job = Job(config, worker)
        job.resume()
        validate = Validator(Path(config.validation_folder)) if worker.leads else None
        photos = PhotoStore(Path(config.train_store))
        for at in range(job.progress.stage, len(config.stages)):
            run_stage(job, config.stages[at], photos, validate)
            job.progress.stage, job.progress.stage_seconds = at + 1, 0.0
            if worker.leads:
                job.save()
        return job.progress


def run_stage(job: Job, stage: Stage, photos: PhotoStore, validate: Validator | None) -> None:
    precision = choose_precision(job.config, stage, job.worker)
    job.begin_stage(stage)
    worker, progress = job.worker, job.progress
    start = progress.samples + worker.rank
    dataset = HoledPhotos(photos, stage.crop_px, seed=job.config.seed, start=start, step=worker.count)
    validation, saving = Timer(job.config.validate_every_minutes), Timer(job.config.save_every_minutes)
    clock = time.perf_counter()
    for batch in batches(dataset, stage.batch_size):
        losses = job.train_step(batch.to(worker.device), stage, precision)
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


def log_step(progress: Progress, losses: dict[str, float], rate: float) -> None:
    terms = " ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    log.info("step %d samples %d %.0f s %.1f img/s: %s", progress.step, progress.samples, progress.seconds, rate, terms)


def keep_if_best(job: Job, psnr_db: float) -> None:
    if psnr_db > job.progress.best_psnr_db:
        job.progress.best_psnr_db = psnr_db
        job.save_best()
    job.save()
