"""Estimators of maps from a flash photo: the network in torch, the shipped file, and trivial baselines."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from sightline.networks.svbrdf_net import METAL, TYPES
from sightline.training.svbrdf.evaluate import Maps
from sightline.training.svbrdf.flash import Floats

MEAN_ROUGHNESS = 0.6
"""Mean roughness of the training materials."""


def median_colour(photo: Floats, _coordinates: Floats) -> Maps:
    """Flat maps of the photo's median colour and mean roughness."""
    return _flat(np.broadcast_to(np.median(photo, axis=(0, 1)), photo.shape))


def photo_colour(photo: Floats, _coordinates: Floats) -> Maps:
    """Flat maps with the photo as base colour and mean roughness."""
    return _flat(photo)


def _flat(albedo: Floats) -> Maps:
    maps = np.zeros((*albedo.shape[:2], 7), np.float32)
    maps[..., :3], maps[..., 5], maps[..., 6] = albedo, 1, MEAN_ROUGHNESS
    return Maps(maps, 0.0)


@dataclass(frozen=True, slots=True)
class NetworkEstimator:
    """The network in torch. Metallic is the probability of metal."""

    network: nn.Module
    device: torch.device

    def __call__(self, photo: Floats, coordinates: Floats) -> Maps:
        batch = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None], torch.from_numpy(coordinates)[None]
        with torch.inference_mode():
            result = self.network(*(part.to(self.device) for part in batch))
        parts = (result.albedo, result.normal, result.roughness)
        maps = [part[0].permute(1, 2, 0).float().cpu().numpy() for part in parts]
        return _estimate(maps, torch.softmax(result.logits[0], 0).cpu().numpy())


class OnnxEstimator:
    """The exported file."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, photo: Floats, coordinates: Floats) -> Maps:
        feeds = {"photo": photo[None], "coordinates": np.ascontiguousarray(coordinates.transpose(1, 2, 0))[None]}
        outputs = self.session.run(["albedo", "normal", "roughness", "probabilities"], feeds)
        *maps, probabilities = (np.asarray(output)[0] for output in outputs)
        return _estimate(maps, probabilities)


def _estimate(maps: list[Floats], probabilities: Floats) -> Maps:
    known = len(probabilities) == len(TYPES)
    metallic = float(probabilities[METAL]) if known else 0.0
    return Maps(np.concatenate(maps, 2), metallic, int(probabilities.argmax()) if known else -1)
