"""Quality while training: fixed photos exposed wrong by fixed amounts."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sightline.training.hdr_correct.baselines import BASELINES
from sightline.training.hdr_correct.correctors import NETWORK_PX
from sightline.training.hdr_correct.evaluate import MEASURES, compare, make_cases, measure
from sightline.training.photos import Picture

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
