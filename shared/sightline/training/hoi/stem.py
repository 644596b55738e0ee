"""The frozen stem as ONNX, for loader processes."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from sightline.networks.pyramid import TrunkLevels
from sightline.training.export import OPSET


class Stem(nn.Module):
    """(b, 3, h, w) sRGB in 0..1 to the level of stride 8."""

    def __init__(self, trunk: TrunkLevels) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image: Tensor) -> Tensor:
        return self.trunk.shallow(image)


def export_stem(trunk: TrunkLevels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {0: Dim("batch"), 2: 32 * Dim("high"), 3: 32 * Dim("wide")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Stem(trunk).eval(), (torch.zeros(2, 3, 96, 64),), dynamo=True, opset_version=OPSET, optimize=True,
            input_names=["image"], output_names=["shallow"], dynamic_shapes=[shape], verbose=False,
        )  # fmt: skip
    assert program is not None
    partial = path.with_suffix(".part")
    program.save(str(partial))
    partial.replace(path)
