"""Training of the exposure correction, and its validation on fixed photos with fixed exposure errors."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sightline.networks.drht import Drht
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.export import load_exported
from sightline.training.hdr_correct.baselines import BASELINES
from sightline.training.hdr_correct.config import Stage, TrainConfig
from sightline.training.hdr_correct.correctors import NETWORK_PX
from sightline.training.hdr_correct.data import BadlyExposed, Batch
from sightline.training.hdr_correct.evaluate import MEASURES, compare, make_cases, measure
from sightline.training.hdr_correct.losses import correction_losses
from sightline.training.hdr_correct.pairs import PairStore
from sightline.training.hdr_correct.scenes import HdrSceneStore
from sightline.training.photos import PhotoStore, Picture
from sightline.training.schedule import Progress

log = logging.getLogger(__name__)
VALIDATION_PHOTOS = 48


class Validator:
    """Mean PSNR of the corrected photo over the fixed cases."""

    def __init__(self, folder: Path, size_px: int = NETWORK_PX) -> None:
        self.cases = make_cases(folder, size_px=size_px, limit=VALIDATION_PHOTOS)
        before = measure(BASELINES["identity"], self.cases, MEASURES)
        log.info("%d cases, uncorrected: psnr %.3f dB", len(before), np.mean([row["psnr_db"] for row in before]))

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        rows = compare({"network": NetworkCorrector(network, device)}, self.cases, MEASURES)
        psnr, similar = (float(np.mean([row.figures[name] for row in rows])) for name in ("psnr_db", "ssim"))
        by_ev = {row.group: round(row.figures["psnr_db"], 2) for row in rows}
        log.info("validation psnr %.3f dB, ssim %.4f, by exposure error %s", psnr, similar, by_ev)
        return psnr


@dataclass(frozen=True, slots=True)
class NetworkCorrector:
    """The network as a function on pictures, like the classical methods."""

    network: nn.Module
    device: torch.device

    def __call__(self, photo: Picture) -> Picture:
        pixels = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            corrected = self.network(pixels.to(self.device)).photo.clamp(0, 1)
        return np.asarray((corrected[0].permute(1, 2, 0) * 255).round().byte().cpu(), np.uint8)


class CorrectionTask:
    """Photos and HDR scenes, badly exposed, for the reciprocal networks."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = Drht(config.network)
        if config.start_weights:
            load_exported(self.network, Path(config.start_weights))
        self.photos = PhotoStore(Path(config.train_store))
        self.scenes = HdrSceneStore(Path(config.scene_store)) if config.scene_store else None
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
