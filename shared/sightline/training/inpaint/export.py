"""The trained network as the ONNX file and contract that the service loads."""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from sightline.networks.partial_conv import PartialConvUNet
from sightline.training.checkpoints import load_checkpoint
from sightline.training.export import Graph, write_contract, write_onnx
from sightline.training.inpaint.config import config_from

TOLERANCE = 2e-3  # of the 0..1 range; halving the weights costs about a tenth of an 8-bit step

CONTRACT = """\
# What inpaint.onnx takes and gives; docs/weights.md says what each entry means.
name = "partial-conv"
version = "{version}"
precision = "fp32"
multiple_of = {multiple_of}

[inputs.image]
tensor = "image"
dtype = "uint8"
layout = "nhwc"
range = [0, 255]

[inputs.mask]
tensor = "mask"
dtype = "uint8"
layout = "nhwc"
range = [0, 1]

[outputs.filled]
tensor = "filled"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]
"""


class Exported(nn.Module):
    """The exported graph: image (b, h, w, 3) uint8 sRGB and mask (b, h, w, 1) uint8, 1 = hole, to filled (b, h, w, 3)
    float in 0..1."""

    def __init__(self, network: PartialConvUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).float() / 255
        valid = 1 - mask.permute(0, 3, 1, 2).float()
        predicted: Tensor = self.network(pixels, valid)
        return predicted.clamp(0, 1).permute(0, 2, 3, 1)


def load_network(checkpoint: Path) -> PartialConvUNet:
    """The averaged network of a training checkpoint, ready for inference."""
    saved = load_checkpoint(checkpoint)
    network = PartialConvUNet(config_from(saved["config"]).network)
    network.load_state_dict(saved["average"])
    return network.eval()


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes inpaint.onnx and inpaint.toml into the folder. ValueError if ONNX Runtime and torch disagree."""
    network = load_network(checkpoint)
    path, stride = folder / "inpaint.onnx", network.config.stride
    write_onnx(Graph(Exported(network), sample_feeds, ["filled"], stride, TOLERANCE), path)
    write_contract(path, CONTRACT.format(version=version, multiple_of=stride))
    return path


def sample_feeds(batch: int, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    mask = (rng.random((batch, height, width, 1)) < 0.3).astype(np.uint8)
    return {"image": image, "mask": mask}
