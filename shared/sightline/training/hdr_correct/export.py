"""The trained networks as the ONNX file and contract that the service loads."""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from sightline.networks.drht import Drht
from sightline.training.checkpoints import load_checkpoint
from sightline.training.export import Feeds, Graph, write_contract, write_onnx
from sightline.training.hdr_correct.config import config_from

TOLERANCE = 2e-2  # of the 0..1 range, at the worst pixel of noise: halved weights meet the steep bridge

CONTRACT = """\
# What hdr_correct.onnx takes and gives; docs/weights.md says what each entry means.
name = "drht"
version = "{version}"
precision = "fp32"
multiple_of = {multiple_of}

[inputs.photo]
tensor = "photo"
dtype = "uint8"
layout = "nhwc"
range = [0, 255]

[outputs.compressed]
tensor = "compressed"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]

[outputs.corrected]
tensor = "corrected"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]
"""


class Exported(nn.Module):
    """The exported graph: photo (b, h, w, 3) uint8 sRGB to compressed and corrected (b, h, w, 3) float in 0..1.

    A compressed scene of 1 is 24 times the white of a well-exposed photo, more than 4 stops above it.
    """

    def __init__(self, network: Drht) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        result = self.network(photo.permute(0, 3, 1, 2).float() / 255)
        compressed, corrected = (part.clamp(0, 1).permute(0, 2, 3, 1) for part in result)
        return compressed, corrected


def load_network(checkpoint: Path) -> Drht:
    """The averaged networks of a training checkpoint, ready for inference."""
    saved = load_checkpoint(checkpoint)
    network = Drht(config_from(saved["config"]).network)
    network.load_state_dict(saved["average"])
    return network.eval()


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes hdr_correct.onnx and hdr_correct.toml into the folder. ValueError if ONNX Runtime and torch disagree."""
    network = load_network(checkpoint)
    path, stride = folder / "hdr_correct.onnx", network.config.stride
    outputs = ["compressed", "corrected"]
    write_onnx(Graph(Exported(network), sample_feeds, outputs, stride, TOLERANCE, optimize=False), path)
    write_contract(path, CONTRACT.format(version=version, multiple_of=stride))
    return path


def sample_feeds(batch: int, height: int, width: int) -> Feeds:
    rng = np.random.default_rng(0)
    return {"photo": rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)}
