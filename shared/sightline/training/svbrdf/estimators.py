"""Estimators of maps from a flash photo: the network in torch, the shipped file, the service, and trivial baselines."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import OpenEXR
import torch
from torch import nn

from sightline.api.media_types import JSON, OPENEXR
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.networks.svbrdf_net import METAL, TYPES
from sightline.training.served_model import ServedModel, encode_png
from sightline.training.svbrdf.evaluate import FOV_DEG, Maps, plain
from sightline.training.svbrdf.flash import Floats
from sightline.training.svbrdf.materials import UNKNOWN

MEAN_ROUGHNESS = 0.6
"""Mean roughness of the training materials."""
LAYERS = ("basecolor.R", "basecolor.G", "basecolor.B", "normal.X", "normal.Y", "normal.Z", "roughness.Y")
"""Layers of the service's OpenEXR file, in the order of `Maps.maps`."""


def median_colour(photo: Floats, _coordinates: Floats) -> Maps:
    """Flat maps of the photo's median colour and mean roughness."""
    return _flat(np.broadcast_to(np.median(photo, axis=(0, 1)), photo.shape))


def photo_colour(photo: Floats, _coordinates: Floats) -> Maps:
    """Flat maps with the photo as base colour and mean roughness."""
    return _flat(photo)


def _flat(albedo: Floats) -> Maps:
    maps = np.zeros((*albedo.shape[:2], 7), np.float32)
    maps[..., :3], maps[..., 5], maps[..., 6] = albedo, 1, MEAN_ROUGHNESS
    return Maps(maps, plain(0.0, maps))


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
    known, joined = len(probabilities) == len(TYPES), np.concatenate(maps, 2)
    metallic = plain(float(probabilities[METAL]) if known else 0.0, joined)
    return Maps(joined, metallic, int(probabilities.argmax()) if known else UNKNOWN, probabilities if known else None)


@dataclass(frozen=True, slots=True)
class ServiceEstimator:
    """The maps of the service as OpenEXR, and the material's type from its record.

    The photo is sent as 8-bit sRGB, from which `photograph` made its linear light.
    """

    model: ServedModel

    def __call__(self, photo: Floats, _coordinates: Floats) -> Maps:
        files = {"image": encode_png(np.rint(255 * encode_srgb(photo)).astype(np.uint8))}
        record = json.loads(self.model(files, JSON, fov_deg=str(FOV_DEG)))
        exr = self.model(files, OPENEXR, fov_deg=str(FOV_DEG))  # PNG would round the maps to 8 or 16 bits
        with OpenEXR.File(BytesIO(exr), separate_channels=True) as file:
            layers = {name: np.asarray(channel.pixels, np.float32) for name, channel in file.channels().items()}
        maps = np.dstack([layers[name] for name in LAYERS])
        return Maps(maps, layers["metallic.Y"], TYPES.index(record["material"]["type"]))
