"""The trained network as the ONNX file and contract that the service loads."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sightline.networks.svbrdf_net import SvbrdfNet
from sightline.training.checkpoints import load_checkpoint
from sightline.training.export import Feeds, Graph, write_contract, write_onnx
from sightline.training.svbrdf.config import config_from

TOLERANCE = 2e-2  # of the maps' ranges, at the worst pixel of noise

CONTRACT = """\
# What svbrdf.onnx takes and gives; docs/weights.md says what each entry means.
name = "svbrdf-net"
version = "{version}"
precision = "fp32"
multiple_of = {multiple_of}

[inputs.photo]
tensor = "photo"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]

[inputs.coordinates]
tensor = "coordinates"
dtype = "float32"
layout = "nhwc"
range = [-1.0, 1.0]

[outputs.albedo]
tensor = "albedo"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]

[outputs.normal]
tensor = "normal"
dtype = "float32"
layout = "nhwc"
range = [-1.0, 1.0]

[outputs.roughness]
tensor = "roughness"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]

[outputs.probabilities]
tensor = "probabilities"
dtype = "float32"
range = [0.0, 1.0]
"""


class Exported(nn.Module):
    """The exported graph: photo (b, h, w, 3) linear light in 0..1 and coordinates (b, h, w, 2) to albedo (b, h, w, 3),
    normal (b, h, w, 3), roughness (b, h, w, 1) and probabilities (b, types) of the material types."""

    def __init__(self, network: SvbrdfNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: Tensor, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        result = self.network(photo.permute(0, 3, 1, 2), coordinates.permute(0, 3, 1, 2))
        albedo, normal, roughness = (part.permute(0, 2, 3, 1) for part in result[:3])
        return albedo, normal, roughness, torch.softmax(result.logits, 1)


def load_network(checkpoint: Path) -> SvbrdfNet:
    """The averaged network of a training checkpoint, ready for inference."""
    saved = load_checkpoint(checkpoint)
    network = SvbrdfNet(config_from(saved["config"]).network)
    network.load_state_dict(saved["average"])
    return network.eval()


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes svbrdf.onnx and svbrdf.toml into the folder. ValueError if ONNX Runtime and torch disagree."""
    network = load_network(checkpoint)
    path, stride = folder / "svbrdf.onnx", network.config.stride
    outputs = ["albedo", "normal", "roughness", "probabilities"]
    write_onnx(Graph(Exported(network), sample_feeds, outputs, stride, TOLERANCE, optimize=False), path)
    write_contract(path, CONTRACT.format(version=version, multiple_of=stride))
    return path


def sample_feeds(batch: int, height: int, width: int) -> Feeds:
    rng = np.random.default_rng(0)
    photo = rng.uniform(0, 1, (batch, height, width, 3)).astype(np.float32)
    return {"photo": photo, "coordinates": rng.uniform(-0.6, 0.6, (batch, height, width, 2)).astype(np.float32)}
