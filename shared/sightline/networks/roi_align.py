"""RoIAlign over a feature pyramid (He et al., "Mask R-CNN", 2017, section 3; levels as in Lin et al., FPN, 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import ops

SAMPLING_RATIO = 2  # samples along each side of a bin
FINEST_LEVEL_PX = 96.0
"""RoIs with sides below this are pooled from the finest level, below twice this from the next, and so on."""


def roi_align(
    levels: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, batch_indices: Tensor, bins: int
) -> Tensor:
    """RoI features (r, c, bins, bins) from levels (b, c, h, w).

    boxes: (r, 4) in pixels; batch_indices: (r,), the picture of each box. Each bin is the mean of 2 x 2 bilinear
    samples.
    """
    level = roi_levels(boxes, len(levels))
    # Training on a CPU: torchvision's operator takes 2.3 times as long as the gather, forward and backward together.
    if torch.is_grad_enabled() and not torch.compiler.is_exporting():
        return _gathered_roi_align(levels, strides, boxes, batch_indices, level, bins)
    return _torchvision_roi_align(levels, strides, boxes, batch_indices, level, bins)


def roi_levels(boxes: Tensor, count: int) -> Tensor:
    """Level (r,) of the pyramid that each box is pooled from."""
    area: Tensor = ops.box_area(boxes)
    level = (area.clamp_min(1).sqrt() / FINEST_LEVEL_PX).log2().floor() + 1
    return level.clamp(0, count - 1).long()


def _torchvision_roi_align(
    levels: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, batch_indices: Tensor, level: Tensor, bins: int
) -> Tensor:
    """RoI features by torchvision's operator, which exports to ONNX, level by level; rows in the order of the boxes."""
    rois = torch.cat([batch_indices[:, None].to(boxes.dtype), boxes], 1)
    rows = [(level == at).nonzero().squeeze(1) for at in range(len(levels))]
    pooled = [
        ops.roi_align(each.to(boxes.dtype), rois[indices], bins, 1 / stride, SAMPLING_RATIO, aligned=True)
        for each, stride, indices in zip(levels, strides, rows, strict=True)
    ]
    order = torch.cat(rows)
    places = torch.zeros_like(order).scatter(0, order, torch.arange(order.shape[0], device=order.device))
    return torch.cat(pooled)[places]


def _gathered_roi_align(
    levels: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, batch_indices: Tensor, level: Tensor, bins: int
) -> Tensor:
    """RoI features by a single gather from one table of the cells of all levels and pictures."""
    channels = levels[0].shape[1]
    table = torch.cat([each.permute(0, 2, 3, 1).reshape(-1, channels) for each in levels])
    heights = torch.tensor([each.shape[2] for each in levels], device=boxes.device)[level]
    widths = torch.tensor([each.shape[3] for each in levels], device=boxes.device)[level]
    sizes = [each.shape[0] * each.shape[2] * each.shape[3] for each in levels]
    starts = torch.tensor([sum(sizes[:at]) for at in range(len(sizes))], device=boxes.device)[level]
    scale = 1 / torch.tensor(strides, dtype=boxes.dtype, device=boxes.device)[level][:, None]
    rows, row_weights = _taps(boxes[:, 1::2] * scale, heights, bins)
    columns, column_weights = _taps(boxes[:, 0::2] * scale, widths, bins)
    first = (starts + batch_indices * heights * widths)[:, None, None]
    cells = _cells(first, rows, columns, widths)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    pooled = F.embedding_bag(cells, table, per_sample_weights=weights.reshape(cells.shape).to(table.dtype), mode="sum")
    return pooled.view(-1, bins, bins, channels).permute(0, 3, 1, 2).contiguous()


def _cells(first: Tensor, rows: Tensor, columns: Tensor, widths: Tensor) -> Tensor:
    """Rows (r * bins * bins, taps) of the table."""
    down = rows * widths[:, None, None] + first
    return (down[:, :, None, :, None] + columns[:, None, :, None, :]).flatten(3).flatten(0, 2)


def _taps(ends: Tensor, size: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Indices and weights (r, bins, 4) of the cells that each bin sums along one axis; ends: (r, 2) in cells."""
    steps = (torch.arange(bins * SAMPLING_RATIO, dtype=ends.dtype, device=ends.device) + 0.5) / (bins * SAMPLING_RATIO)
    last = (size - 1)[:, None]
    at = (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * steps - 0.5).clamp_min(0).minimum(last.to(ends.dtype))
    low = at.floor().long()
    high = (low + 1).minimum(last)
    share = at - low
    places = torch.stack([low, high], 2).unflatten(1, (bins, SAMPLING_RATIO)).flatten(2)
    weights = torch.stack([1 - share, share], 2).unflatten(1, (bins, SAMPLING_RATIO)).flatten(2) / SAMPLING_RATIO
    return places, weights
