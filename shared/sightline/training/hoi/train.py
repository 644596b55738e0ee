"""What InteractNet brings to the training loop: all of its heads at once on a pre-trained trunk."""

import logging
from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.networks.interactnet import InteractNet, InteractNetConfig
from sightline.networks.pyramid import TrunkLevels
from sightline.training import loop
from sightline.training.backbones import load_trunk
from sightline.training.checkpoints import load_checkpoint
from sightline.training.data import Samples, batches
from sightline.training.export import read_state
from sightline.training.hoi.config import TrainConfig
from sightline.training.hoi.data import Batch, SceneBatches
from sightline.training.hoi.imitation import TorchTeacher, imitation_loss
from sightline.training.hoi.losses import detection_losses, interaction_losses
from sightline.training.hoi.sampling import Sampler
from sightline.training.hoi.stem import export_stem
from sightline.training.hoi.validation import Validator
from sightline.training.schedule import Progress, Stage

log = logging.getLogger(__name__)
IMITATION_WEIGHT = 4.0


class InteractNetTask:
    """Scenes with boxes and actions for the detector and its two branches."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = with_trunk(config.network, config.trunk)
        if config.start_weights:
            load_start(self.network, Path(config.start_weights))
        self.stem_path = None if config.trains_stem else Path(config.out_folder) / "stem.onnx"
        self.network.detector.trunk.stem.requires_grad_(config.trains_stem)
        if self.stem_path and not self.stem_path.exists():
            export_stem(self.network.detector.trunk, self.stem_path)
        self.teacher_path = Path(config.teacher) if config.teacher else None
        self.teacher: TorchTeacher | None = None

    def begin_stage(self, stage: Stage, device: torch.device) -> None:
        self.network.train()
        if self.teacher_path and self.config.trains_stem:
            self.teacher = TorchTeacher(self.teacher_path).to(device)

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        store = Path(self.config.train_store)
        teacher = None if self.config.trains_stem else self.teacher_path
        make = SceneBatches(store, self.stem_path, stage.batch_size, stage.crop_px, teacher)
        done, worker = divmod(start, stage.batch_size * step)
        samples = Samples(make, seed=self.config.seed, start=done * step + worker, step=step)
        return starmap(Batch.of, batches(samples, 1, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        outputs = network(batch.seen / 255 if batch.holds_pictures else batch.seen, Sampler(batch))
        deltas = self.network.detector.class_deltas(outputs.deltas, outputs.regions.labels.clamp_min(0))
        losses = {**detection_losses(outputs, deltas), **interaction_losses(outputs)}
        if self.teacher_path:
            features, likely = self.teacher(batch.seen) if self.teacher else (batch.features, batch.likely)
            losses["imitation"] = IMITATION_WEIGHT * imitation_loss(outputs.levels, features, likely)
        return losses

    def validator(self) -> loop.Score:
        return Validator(Path(self.config.validation_folder))


def load_start(network: InteractNet, start: Path) -> None:
    """Take over the weights of a checkpoint, or of a folder with detector.onnx and interactions.onnx.

    ValueError where the exported graphs hold another network.
    """
    if not start.is_dir():
        network.load_state_dict(load_checkpoint(start)["average"])
        return
    state = read_state(start / "detector.onnx", "") | read_state(start / "interactions.onnx", "network.")
    wanted = {name: part.shape for name, part in network.state_dict().items()}
    found = {name: torch.from_numpy(state[name]) for name in wanted if name in state}
    if {name: part.shape for name, part in found.items()} != wanted:
        raise ValueError(f"{start} holds another network than this one")
    network.load_state_dict(found)


def with_trunk(config: InteractNetConfig, trunk: str) -> InteractNet:
    """An untrained network on a pre-trained trunk."""
    network = InteractNet(config)
    network.detector.trunk = TrunkLevels(load_trunk(trunk))
    return network


def train(config: TrainConfig) -> Progress:
    return loop.train(lambda: InteractNetTask(config))
