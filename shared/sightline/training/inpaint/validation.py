"""Quality while training: fixed holed photos beside a classical method on the same ones."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sightline.training.inpaint.baselines import BASELINES
from sightline.training.inpaint.evaluate import MEASURES, bucket_means, make_cases, measure
from sightline.training.photos import Picture, list_photos, read_rgb

log = logging.getLogger(__name__)
VALIDATION_PHOTOS = 100


class Validator:
    """PSNR by hole-size bucket on fixed cases, beside Telea's on the same ones."""

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
