"""What exposure correction brings to the training loop."""

from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.networks.drht import Drht
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.export import load_exported
from sightline.training.hdr_correct.config import Stage, TrainConfig
from sightline.training.hdr_correct.data import BadlyExposed, Batch
from sightline.training.hdr_correct.losses import correction_losses
from sightline.training.hdr_correct.pairs import PairStore
from sightline.training.hdr_correct.scenes import SceneStore
from sightline.training.hdr_correct.validation import Validator
from sightline.training.photos import PhotoStore
from sightline.training.schedule import Progress


class CorrectionTask:
    """Photos and HDR scenes, badly exposed, for the reciprocal networks."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = Drht(config.network)
        if config.start_weights:
            load_exported(self.network, Path(config.start_weights))
        self.photos = PhotoStore(Path(config.train_store))
        self.scenes = SceneStore(Path(config.scene_store)) if config.scene_store else None
        self.pairs = PairStore(Path(config.pair_store)) if config.pair_store else None

    def begin_stage(self, stage: Stage, _device: torch.device) -> None:
        self.network.freeze_norm = stage.freeze_norm
        self.network.train()

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        make = BadlyExposed(self.photos, self.scenes, self.pairs, stage.crop_px)
        samples = Samples(make, seed=self.config.seed, start=start, step=step)
        return starmap(Batch.of, batches(samples, stage.batch_size, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        return correction_losses(network(batch.photo), batch, stage.losses)

    def validator(self) -> loop.Score:
        return Validator(Path(self.config.validation_folder))


def train(config: TrainConfig) -> Progress:
    return loop.train(lambda: CorrectionTask(config))
