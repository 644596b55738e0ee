"""The trained network as the ONNX file and contract that the service loads."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from sightline.networks.partial_conv import PartialConvUNet
from sightline.training.checkpoints import load_checkpoint
from sightline.training.export import Feeds, halve_weights, largest_difference, read_state
from sightline.training.inpaint.config import config_from

log = logging.getLogger(__name__)
OPSET = 18
UNEXPORTED = "num_batches_tracked"
TOLERANCE = 2e-3  # of the 0..1 range; halving the weights costs about a tenth of an 8-bit step
CHECKED_SHAPES = ((1, 1, 1), (2, 1, 2), (1, 2, 2))

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
    """image (b, h, w, 3) uint8 sRGB and mask (b, h, w, 1) uint8, 1 = hole, to filled (b, h, w, 3) float in 0..1."""

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


def load_exported(network: PartialConvUNet, path: Path) -> None:
    """Take over the weights of an exported file, to train on from; ValueError when it is of another network."""
    constants = dict(network.named_buffers()).keys() - network.state_dict().keys()
    weights = read_state(path, "network.").items()
    state = {name: torch.from_numpy(values) for name, values in weights if name not in constants}
    wanted = {name: part.shape for name, part in network.state_dict().items() if not name.endswith(UNEXPORTED)}
    if {name: part.shape for name, part in state.items()} != wanted:
        raise ValueError(f"{path} holds another network than one of {network.config}")
    network.load_state_dict(state, strict=False)


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Write inpaint.onnx and inpaint.toml into the folder; ValueError when ONNX and torch disagree."""
    network = load_network(checkpoint)
    path = folder / "inpaint.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    model = to_onnx(Exported(network), network.config.stride)
    halve_weights(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    check(path, Exported(network), network.config.stride)
    (folder / "inpaint.toml").write_text(CONTRACT.format(version=version, multiple_of=network.config.stride))
    return path


def to_onnx(module: nn.Module, multiple_of: int) -> onnx.ModelProto:
    # A bottleneck of size 1 would be taken for a constant, so both sides are larger than the multiple.
    image, mask = (torch.from_numpy(array) for array in sample_feeds(2, 3 * multiple_of, 2 * multiple_of).values())
    batch, high, wide = Dim("batch"), Dim("high"), Dim("wide")
    shape = {0: batch, 1: multiple_of * high, 2: multiple_of * wide}
    with warnings.catch_warnings():
        # The exporter warns of its own internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (image, mask),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image", "mask"],
            output_names=["filled"],
            dynamic_shapes={"image": shape, "mask": shape},
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def sample_feeds(batch: int, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    mask = (rng.random((batch, height, width, 1)) < 0.3).astype(np.uint8)
    return {"image": image, "mask": mask}


def check(path: Path, module: nn.Module, multiple_of: int) -> None:
    feeds: list[Feeds] = [sample_feeds(b, h * multiple_of, w * multiple_of) for b, h, w in CHECKED_SHAPES]
    with torch.inference_mode():
        expected = [module(*(torch.from_numpy(array) for array in feed.values())).numpy() for feed in feeds]
    difference = largest_difference(path, feeds, expected)
    log.info("largest difference between ONNX and torch: %.2g", difference)
    if difference > TOLERANCE:
        raise ValueError(f"ONNX and torch differ by {difference:.2g} of the range, more than {TOLERANCE}")
