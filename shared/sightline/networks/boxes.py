"""Boxes as tensors (..., n, 4) of corners x1, y1, x2, y2 in pixels: overlap, encodings, suppression."""

import torch
from torch import Tensor

LARGEST_GROWTH = 4.135  # log(1000 / 16), as in Faster R-CNN's code: no delta makes a box more than 62 times larger

FARTHEST_PX = 4096.0
"""Beyond the sides of any picture that a network gets."""


def areas(boxes: Tensor) -> Tensor:
    """(..., n)"""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def intersections(first: Tensor, second: Tensor) -> Tensor:
    """(..., n, m) areas that (..., n, 4) and (..., m, 4) share."""
    first, second = first.unsqueeze(-2), second.unsqueeze(-3)
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    return (bottom_right - top_left).clamp_min(0).prod(-1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """(..., n, m) intersections over unions of (..., n, 4) and (..., m, 4)."""
    shared = intersections(first, second)
    return shared / (areas(first).unsqueeze(-1) + areas(second).unsqueeze(-2) - shared).clamp_min(1e-6)


def centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) centres and (..., 2) widths and heights of (..., 4), none smaller than a pixel."""
    sizes = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, sizes


def encode(boxes: Tensor, reference: Tensor) -> Tensor:
    """(..., 4): offset of the centres in sizes of the reference, and logarithm of the ratio of sizes.

    With a person as the reference and an object as the box this is InteractNet's b_{o|h}.
    """
    centre, size = centres_and_sizes(boxes)
    origin, unit = centres_and_sizes(reference)
    return torch.cat([(centre - origin) / unit, (size / unit).log()], dim=-1)


def decode(deltas: Tensor, reference: Tensor) -> Tensor:
    """The boxes (..., 4) that `encode` gave these deltas."""
    origin, unit = centres_and_sizes(reference)
    centre = origin + deltas[..., :2] * unit
    half = deltas[..., 2:].clamp_max(LARGEST_GROWTH).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, height_px: int, width_px: int) -> Tensor:
    """The part inside the picture."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    inside = (x1.clamp(0, width_px), y1.clamp(0, height_px), x2.clamp(0, width_px), y2.clamp(0, height_px))
    return torch.stack(inside, dim=-1)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression of (n, 4) by scores (n,): the kept places (k,), by falling score."""
    order = scores.argsort(descending=True, stable=True)
    return order[unrivalled(boxes[order], iou_threshold)]


def unrivalled(ranked: Tensor, iou_threshold: float) -> Tensor:
    """(..., n) which boxes greedy suppression keeps of (..., n, 4), the best first.

    A box is out if a kept one before it overlaps it. Starting from all kept, each round settles at least one box more,
    and a handful settle all; the fixed point is what going through them one by one gives.
    """
    rivals = (iou(ranked, ranked) > iou_threshold).triu(1)
    kept = torch.ones(ranked.shape[:-1], dtype=torch.bool, device=ranked.device)
    while True:
        settled = ~(rivals & kept.unsqueeze(-1)).any(-2)
        if torch.equal(settled, kept):
            return kept
        kept = settled


def class_offsets(boxes: Tensor, labels: Tensor) -> Tensor:
    """The boxes moved apart by class, so that suppression never crosses classes."""
    return boxes + (labels.to(boxes.dtype) * FARTHEST_PX)[:, None]
