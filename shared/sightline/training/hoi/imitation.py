"""Learning to see as the teacher does: its features at every cell, not only its boxes.

Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient", NeurIPS
2022. Boxes alone tell a small detector too little in the hours that a CPU has.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from sightline.training.hoi.sessions import cpu_session
from sightline.training.hoi.teacher import CLASSES, MEAN, STD, normalized
from sightline.training.onnx_module import OnnxModule

LEVELS, CHANNELS = 3, 96
"""The teacher's, of strides 8, 16 and 32. A pyramid that imitates them has the same width."""
BACKGROUND_WEIGHT = 0.1
"""Of a cell where the teacher sees nothing, beside 1 where it is sure."""


class TeacherMaps:
    """`maps(pictures)`: what NanoDet-Plus names classes and places by, in (b, h, w, 3) uint8, sides multiples of 32:
    features (b, cells, channels) and the best class score (b, cells) in 0..1, level after level, row by row."""

    def __init__(self, path: Path) -> None:
        self.session = cpu_session(_with_maps(onnx.load(path)).SerializeToString())

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps = self.session.run(None, {"data": normalized(pictures)})
        cells = [each.reshape(*each.shape[:2], -1).transpose(0, 2, 1) for each in maps]
        logits = np.concatenate(cells[1::2], 1)[..., :CLASSES]
        return np.concatenate(cells[::2], 1), 0.5 * (1 + np.tanh(logits.max(2) / 2))


def _with_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    """The teacher for pictures of any size, which gives the last convolution of each level: what enters and leaves it.

    Those convolutions are found by what follows, as their numbers differ between exports: a split into scores and
    places.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    scored = {node.input[0] for node in graph.node if node.op_type == "Sigmoid"}
    splits = [node for node in graph.node if node.op_type == "Split" and scored & set(node.output)]
    last = [made_by[split.input[0]] for split in splits[:LEVELS]]
    names = [name for node in last for name in (node.input[0], node.output[0])]
    del graph.output[:], graph.value_info[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    for side, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], ("h", "w"), strict=True):
        side.dim_param = name
    return model


class TorchTeacher(nn.Module):
    """The same of pictures (b, 3, h, w) of 0..255, on a GPU too."""

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = OnnxModule(_with_maps(onnx.load(path)))
        self.register_buffer("mean", torch.from_numpy(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.from_numpy(STD).view(3, 1, 1))

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(pictures.device.type, enabled=False):
            maps = self.network((pictures.flip(1) - self.mean) / self.std)
        cells = [each.flatten(2).mT for each in maps]
        return torch.cat(cells[::2], 1), torch.cat(cells[1::2], 1)[..., :CLASSES].amax(2).sigmoid()


def imitation_loss(levels: Sequence[Tensor], features: Tensor, likely: Tensor) -> Tensor:
    """1 minus the correlation of each channel of the levels (b, c, h, w) with the teacher's features (b, cells, c).

    Cells count by how `likely` (b, cells) the teacher finds something there. Correlation leaves scale and offset free,
    as the heads behind the pyramid do not care about either.
    """
    sizes = [level.shape[2] * level.shape[3] for level in levels]
    parts = zip(levels, features.split(sizes, 1), likely.split(sizes, 1), strict=True)
    errors, weights = zip(*(_errors(level.flatten(2).mT, *theirs) for level, *theirs in parts), strict=True)
    return torch.stack(errors).sum() / torch.stack(weights).sum()


def _errors(mine: Tensor, theirs: Tensor, likely: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted sum of errors and of weights."""
    each = (_standardized(mine) - _standardized(theirs)).square().mean(2) / 2
    weights = BACKGROUND_WEIGHT + likely
    return (each * weights).sum(), weights.sum()


def _standardized(cells: Tensor) -> Tensor:
    """Of no mean and a deviation of 1 over all cells of the batch."""
    centred = cells - cells.mean((0, 1))
    return centred / centred.square().mean((0, 1)).sqrt().clamp_min(1e-3)
