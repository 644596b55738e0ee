"""Training of the inpainting network, and its validation on fixed photos with holes beside a classical method."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sightline.networks.backbones import load_features
from sightline.networks.partial_conv import PartialConvUNet
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.export import load_exported
from sightline.training.inpaint.config import Stage, TrainConfig
from sightline.training.inpaint.data import Batch, HoledPhotos
from sightline.training.inpaint.evaluate import MEASURES, bucket_means, make_cases, measure
from sightline.training.inpaint.fillers import BASELINES
from sightline.training.inpaint.losses import Features, inpainting_losses
from sightline.training.photos import PhotoStore, Picture, list_photos, read_rgb
from sightline.training.schedule import Progress

log = logging.getLogger(__name__)
VALIDATION_PHOTOS = 100


class Validator:
    """PSNR by hole-size bucket on fixed cases, beside Telea's on the same cases."""

    def __init__(self, folder: Path, size_px: int = 256) -> None:
        paths = list_photos(folder)
        paths = paths[:: max(1, len(paths) // VALIDATION_PHOTOS)][:VALIDATION_PHOTOS]
        self.cases = make_cases([read_rgb(path) for path in paths], size_px=size_px)
        rows = measure(BASELINES["telea"], self.cases, MEASURES)
        self.baseline = [row["psnr_db"] for row in rows]
        log.info("telea: psnr %.3f dB, ssim %.4f", np.mean(self.baseline), np.mean([row["ssim"] for row in rows]))

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        """Mean PSNR over the cases; logs the lead over Telea per bucket."""
        rows = measure(NetworkFiller(network, device), self.cases, MEASURES)
        psnr = [row["psnr_db"] for row in rows]
        lead = bucket_means(self.cases, psnr) - bucket_means(self.cases, self.baseline)
        mean_ssim = float(np.mean([row["ssim"] for row in rows]))
        log.info("validation psnr %.3f dB, ssim %.4f, ahead of telea by %s", np.mean(psnr), mean_ssim, lead.round(2))
        return float(np.mean(psnr))


@dataclass(frozen=True, slots=True)
class NetworkFiller:
    """The network as a function on pictures, like the classical methods."""

    network: nn.Module
    device: torch.device

    def __call__(self, picture: Picture, hole: Picture) -> Picture:
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
        valid = 1 - torch.from_numpy(hole)[None, None].float()
        with torch.inference_mode():
            predicted = self.network(image.to(self.device), valid.to(self.device)).clamp(0, 1)
        return np.asarray((predicted[0].permute(1, 2, 0) * 255).round().byte().cpu(), np.uint8)


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
