"""Boxes as tensors (..., n, 4) of corners x1, y1, x2, y2 in pixels: overlap, encodings, suppression.

The encoding is own code: that of torchvision's detectors has no public name and does not broadcast.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms

MAX_LOG_GROWTH = 4.135  # log(1000 / 16), as in Faster R-CNN's code: no delta makes a box more than 62 times larger

CLASS_OFFSET_PX = 4096.0
"""Beyond the sides of any picture that a network processes."""


def intersections(first: Tensor, second: Tensor) -> Tensor:
    """(..., n, m) shared areas of (..., n, 4) and (..., m, 4)."""
    first, second = first.unsqueeze(-2), second.unsqueeze(-3)
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    return (bottom_right - top_left).clamp_min(0).prod(-1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """(..., n, m) intersections over unions of (..., n, 4) and (..., m, 4), 0 for boxes without area."""
    overlaps: Tensor = box_iou(first, second)
    return overlaps.nan_to_num(0)


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
    half = deltas[..., 2:].clamp_max(MAX_LOG_GROWTH).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, height_px: int, width_px: int) -> Tensor:
    """The part inside the picture."""
    clipped: Tensor = clip_boxes_to_image(boxes, (height_px, width_px))
    return clipped


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int) -> Tensor:
    """The first rows (k,), by falling score, that non-maximum suppression keeps of boxes (n, 4) with scores (n,)."""
    kept: Tensor = nms(boxes, scores, iou_threshold)
    return kept[:max_boxes]


def unsuppressed(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """(b, n) True for the boxes (b, n, 4) that non-maximum suppression keeps in each picture, by scores (b, n)."""
    pictures = torch.arange(len(boxes), device=boxes.device)[:, None].expand(boxes.shape[:2])
    kept = torch.zeros(scores.numel(), dtype=torch.bool, device=boxes.device)
    kept[batched_nms(boxes.flatten(0, 1), scores.flatten().to(boxes.dtype), pictures.flatten(), iou_threshold)] = True
    return kept.view(scores.shape)


def class_offsets(boxes: Tensor, labels: Tensor) -> Tensor:
    """The boxes moved apart by class, so that suppression never crosses classes.

    torchvision's `batched_nms` branches on the number of boxes, which an exported graph does not know.
    """
    return boxes + (labels.to(boxes.dtype) * CLASS_OFFSET_PX)[:, None]
