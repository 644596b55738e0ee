"""Boxes as tensors (..., n, 4) of corners x1, y1, x2, y2 in pixels: overlap, encoding, non-maximum suppression.

torchvision's encoding (`_utils.BoxCoder`) is private and does not broadcast, so the encoding here is hand-written.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms

MAX_LOG_GROWTH = 4.135  # log(1000 / 16), as in Faster R-CNN's code: no delta makes a box more than 62 times larger

CLASS_OFFSET_PX = 4096.0
"""More than the sides of any picture that a network processes."""


def intersections(first: Tensor, second: Tensor) -> Tensor:
    """Intersection areas (..., n, m) of (..., n, 4) and (..., m, 4)."""
    first, second = first.unsqueeze(-2), second.unsqueeze(-3)
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    return (bottom_right - top_left).clamp_min(0).prod(-1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersections over unions (..., n, m) of (..., n, 4) and (..., m, 4), 0 for boxes without area."""
    overlaps: Tensor = box_iou(first, second)
    return overlaps.nan_to_num(0)


def centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (..., 2) and sizes (..., 2) of boxes (..., 4); sizes are width and height, at least one pixel."""
    sizes = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, sizes


def encode(boxes: Tensor, reference: Tensor) -> Tensor:
    """Deltas (..., 4): the offset of the centres in sizes of the reference, and the logarithms of the ratios of sizes.

    Of an object's box relative to a person's they are InteractNet's b_{o|h}.
    """
    centre, size = centres_and_sizes(boxes)
    origin, unit = centres_and_sizes(reference)
    return torch.cat([(centre - origin) / unit, (size / unit).log()], dim=-1)


def decode(deltas: Tensor, reference: Tensor) -> Tensor:
    """Boxes (..., 4) from deltas (..., 4): the inverse of `encode`."""
    origin, unit = centres_and_sizes(reference)
    centre = origin + deltas[..., :2] * unit
    half = deltas[..., 2:].clamp_max(MAX_LOG_GROWTH).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, height_px: int, width_px: int) -> Tensor:
    """The parts of the boxes inside the picture."""
    clipped: Tensor = clip_boxes_to_image(boxes, (height_px, width_px))
    return clipped


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int) -> Tensor:
    """Indices (k,) of the boxes that non-maximum suppression keeps, by falling score; k is at most `max_boxes`.

    boxes: (n, 4); scores: (n,).
    """
    kept: Tensor = nms(boxes, scores, iou_threshold)
    return kept[:max_boxes]


def suppression_mask(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Mask (b, n), True for boxes that non-maximum suppression keeps within their picture.

    boxes: (b, n, 4); scores: (b, n).
    """
    pictures = torch.arange(len(boxes), device=boxes.device)[:, None].expand(boxes.shape[:2])
    kept = torch.zeros(scores.numel(), dtype=torch.bool, device=boxes.device)
    kept[batched_nms(boxes.flatten(0, 1), scores.flatten().to(boxes.dtype), pictures.flatten(), iou_threshold)] = True
    return kept.view(scores.shape)


def separate_classes(boxes: Tensor, labels: Tensor) -> Tensor:
    """Boxes shifted by an offset for each class, so that suppression never crosses classes.

    torchvision's `batched_nms` branches on the number of boxes, which is not known in an exported graph.
    """
    return boxes + (labels.to(boxes.dtype) * CLASS_OFFSET_PX)[:, None]
