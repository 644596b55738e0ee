"""Non-maximum suppression as an operator of its own, which exporters can replace by the standard's."""

from typing import Any

import torch
from torch import Tensor

from sightline.networks.boxes import nms


@torch.library.custom_op("sightline::nms", mutates_args=())
def suppressed(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, most: int) -> Tensor:
    """At most so many kept places (k,) by falling score, of boxes (n, 4) whose score (n,) is above the threshold."""
    places = (scores > score_threshold).nonzero().squeeze(1)
    return places[nms(boxes[places], scores[places], iou_threshold)][:most]


@suppressed.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, most: int) -> Any:
    return scores.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.long)
