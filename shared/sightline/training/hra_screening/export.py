"""The trained network as the ONNX file and contract that the service loads."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.api.screening import CATEGORIES
from sightline.inference.contract import read_contract
from sightline.networks.hra_cnn import HraCnn
from sightline.training.export import Feeds, Graph, write_contract, write_onnx
from sightline.training.hra_screening.fitting import ScreeningModel, load_model
from sightline.training.hra_screening.scores import THRESHOLD

TOLERANCE = 5e-2  # of logits that span some 10: what halving the weights costs
OUTPUTS = ("logits", "activation", "embedding")

CONTRACT = """\
# What hra_screening.onnx takes and gives; docs/weights.md says what each entry means.
name = "hra-cnn"
version = "{version}"
precision = "fp32"
fixed_size = [{px}, {px}]

[sizes]
cells = {cells}
channels = {channels}

[inputs.image]
tensor = "image"
dtype = "uint8"
layout = "nhwc"
range = [0, 255]

[outputs.logits]
tensor = "logits"
dtype = "float32"

[outputs.activation]
tensor = "activation"
dtype = "float32"
layout = "nhwc"

[outputs.embedding]
tensor = "embedding"
dtype = "float32"

[facts]
threshold = {threshold}
threshold_version = "{version}"

# On how many pictures each class was trained.
[facts.support]
{support}
"""


class Exported(nn.Module):
    """The exported graph: image (b, h, w, 3) uint8 sRGB to calibrated logits (b, 9), class activation maps (b, h / 32,
    w / 32, 9) and the embedding (b, channels) of unit length. All are means over the picture and its mirror image."""

    def __init__(self, model: ScreeningModel) -> None:
        super().__init__()
        self.network, self.temperature = model.network, model.temperature

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        upright = image.permute(0, 3, 1, 2).float() / 255
        features = self.network.features(torch.stack([upright, upright.flip(3)]).flatten(0, 1))
        # Unflattening keeps the size of the batch open, which chunks of a joined batch would fix.
        logits = self.network.classify(features).unflatten(0, (2, -1)).mean(0) / self.temperature
        maps = self.network.activation(features).unflatten(0, (2, -1))
        aligned = (maps[0] + maps[1].flip(3)) / 2 / self.temperature
        embedding = self.network.embedding(features).unflatten(0, (2, -1)).mean(0)
        return logits, aligned.permute(0, 2, 3, 1), F.normalize(embedding, dim=1)


def export(checkpoint: Path, folder: Path, *, version: str) -> Path:
    """Writes hra_screening.onnx and hra_screening.toml into the folder.

    ValueError if ONNX Runtime and torch disagree, or the network has no class activation map.
    """
    model = load_model(checkpoint)
    path = folder / "hra_screening.onnx"
    write_onnx(Graph(Exported(model), sample_feeds, OUTPUTS, 32, TOLERANCE), path)
    write_contract(path, contract_of(model, version))
    return path


def with_version(source: Path, path: Path, version: str) -> None:
    """Writes the contract of a file that was made from `source`: the same entries with another version and digest."""
    text = source.with_suffix(".toml").read_text(encoding="utf-8").partition("[sha256]")[0]
    old = read_contract(source.with_suffix(".toml")).version
    write_contract(path, text.replace(f'version = "{old}"', f'version = "{version}"'))


def contract_of(model: ScreeningModel, version: str) -> str:
    config = model.network.config
    support = "\n".join(f"{category} = {model.support[category]}" for category in CATEGORIES)
    return CONTRACT.format(
        version=version,
        px=config.image_px,
        cells=config.cells,
        channels=embedding_channels(model.network),
        threshold=THRESHOLD,
        support=support,
    )


def embedding_channels(network: HraCnn) -> int:
    with torch.inference_mode():
        px = network.config.image_px
        return int(network.embedding(network.features(torch.zeros(1, 3, px, px))).shape[1])


def sample_feeds(batch: int, height: int, width: int) -> Feeds:
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)}
