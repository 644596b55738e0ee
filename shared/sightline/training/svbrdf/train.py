"""Training of the material model."""

from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.networks.svbrdf_net import SvbrdfNet
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.export import load_exported
from sightline.training.schedule import Progress
from sightline.training.svbrdf.config import Stage, TrainConfig
from sightline.training.svbrdf.data import Batch, Photographed
from sightline.training.svbrdf.losses import svbrdf_losses
from sightline.training.svbrdf.materials import MaterialStore
from sightline.training.svbrdf.validation import Validator


class SvbrdfTask:
    """Photographed materials for SVBRDF-Net."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = SvbrdfNet(config.network)
        if config.start_weights:
            load_exported(self.network, Path(config.start_weights))
        self.materials = MaterialStore(Path(config.train_store))

    def begin_stage(self, stage: Stage, _device: torch.device) -> None:
        self.network.freeze_norm = stage.freeze_norm
        self.network.train()

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        make = Photographed(self.materials, stage.crop_px)
        samples = Samples(make, seed=self.config.seed, start=start, step=step)
        return starmap(Batch.of, batches(samples, stage.batch_size, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        result = network(batch.photo, batch.coordinates)
        return svbrdf_losses(result, batch, stage.losses, novel_lights=stage.novel_lights)

    def validator(self) -> loop.Score:
        return Validator(Path(self.config.validation_folder), self.config.validation_px)


def train(config: TrainConfig) -> Progress:
    return loop.train(lambda: SvbrdfTask(config))
