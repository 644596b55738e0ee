"""The region proposal network of Faster R-CNN (Ren et al., NeurIPS 2015) on a feature pyramid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks import boxes

RATIOS = (0.5, 1.0, 2.0)
ANCHOR_CELLS = 3.0
"""The side of a square anchor, in cells of its level."""
BACKGROUND_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class DenseProposals:
    """Of every anchor: logits (b, n) of holding anything, deltas (b, n, 4); anchors: (n, 4)."""

    logits: Tensor
    deltas: Tensor
    anchors: Tensor


@dataclass(frozen=True, slots=True)
class Proposing:
    """How many of the anchors become proposals, in the network's use."""

    candidates: int = 400
    kept: int = 100
    iou_threshold: float = 0.7


class ProposalNetwork(nn.Module):
    """One hidden convolution for all levels; three anchors of equal area at every cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, len(RATIOS), 1)
        self.deltas = nn.Conv2d(width, 4 * len(RATIOS), 1)
        for layer, bias in ((self.objectness, math.log(BACKGROUND_SHARE / (1 - BACKGROUND_SHARE))), (self.deltas, 0.0)):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, bias)

    def forward(self, levels: Sequence[Tensor], strides: Sequence[int]) -> DenseProposals:
        logits, deltas = [], []
        for level in levels:
            hidden = F.relu(self.hidden(level))
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        anchors = [level_anchors(level, stride) for level, stride in zip(levels, strides, strict=True)]
        return DenseProposals(torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors))


def level_anchors(level: Tensor, stride: int) -> Tensor:
    """(h * w * 3, 4) anchors around the centres of the cells, row by row."""
    height, width = level.shape[2:]
    y = (torch.arange(height, device=level.device, dtype=torch.float32) + 0.5) * stride
    x = (torch.arange(width, device=level.device, dtype=torch.float32) + 0.5) * stride
    centres = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    side = ANCHOR_CELLS * stride
    halves = torch.tensor(
        [[side / math.sqrt(ratio) / 2, side * math.sqrt(ratio) / 2] for ratio in RATIOS], device=level.device
    )
    corners = torch.cat([centres[:, :, None] - halves, centres[:, :, None] + halves], dim=-1)
    return corners.flatten(0, 2)


def best_candidates(dense: DenseProposals, size_px: tuple[int, int], most: int) -> tuple[Tensor, Tensor]:
    """Boxes (b, k, 4) and falling logits (b, k) of each picture's likeliest anchors, clipped to it (height, width)."""
    logits, places = dense.logits.topk(torch.sym_min(most, dense.logits.shape[1]))
    deltas = dense.deltas.gather(1, places.unsqueeze(-1).expand(-1, -1, 4))
    return boxes.clip(boxes.decode(deltas, dense.anchors[places]), *size_px), logits
