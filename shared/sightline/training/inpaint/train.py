"""What inpainting brings to the training loop."""

from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.networks.backbones import load_features
from sightline.networks.partial_conv import PartialConvUNet
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.export import load_exported
from sightline.training.inpaint.config import Stage, TrainConfig
from sightline.training.inpaint.data import Batch, HoledPhotos
from sightline.training.inpaint.losses import Features, inpainting_losses
from sightline.training.inpaint.validation import Validator
from sightline.training.photos import PhotoStore
from sightline.training.schedule import Progress


class InpaintTask:
    """Photos with irregular holes for the partial-convolution network."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = PartialConvUNet(config.network)
        if config.start_weights:
            load_exported(self.network, Path(config.start_weights))
        self.photos = PhotoStore(Path(config.train_store))
        self.features: Features | None = None

    def begin_stage(self, stage: Stage, device: torch.device) -> None:
        self.network.freeze_encoder_norm = stage.freeze_encoder_norm
        self.network.train()
        if stage.losses.needs_features and self.features is None:
            self.features = load_features(self.config.backbone).to(device)

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        make = HoledPhotos(self.photos, stage.crop_px)
        samples = Samples(make, seed=self.config.seed, start=start, step=step)
        return starmap(Batch.of, batches(samples, stage.batch_size, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        return inpainting_losses(network(batch.image, batch.valid), batch, stage.losses, self.features)

    def validator(self) -> loop.Score:
        return Validator(Path(self.config.validation_folder))


def train(config: TrainConfig) -> Progress:
    return loop.train(lambda: InpaintTask(config))
