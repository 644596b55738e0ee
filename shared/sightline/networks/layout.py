"""Actions and interactions from the layout of a picture: the boxes of people and objects, their classes and scores.

Gupta, Schwing, Hoiem, "No-Frills Human-Object Interaction Detection: Factorization, Layout Encodings, and Training
Techniques", ICCV 2019, arXiv:1811.05967. Here one network encodes each person with each object; their maximum and sum
over the objects predict the person's actions. A layout is learned from few pictures, needs no features of the picture,
and profits from any better detector.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sightline.networks.boxes import encode, iou

PERSON = 0
"""Index of the class of people."""
RELATIONS, PLACES = 15, 7
MAX_OFFSET, MAX_GAP, MAX_LOG_RATIO = 4.0, 3.0, 3.0
"""Limits of what is measured in sizes of the person: farther objects are all alike."""
SAME_PERSON_IOU = 0.6
"""Overlap at which a person's box is another box of the same person, which is no object."""
CUT_SHARE = 0.97
"""Share of the picture's height below which a person's box ends at its lower edge: the legs are not in the picture."""
SUM_SCALE = 8.0
"""Divisor of sums over objects, so that sums and maxima are of one order."""


@dataclass(frozen=True, slots=True)
class LayoutConfig:
    """Configuration of the layout network. `embedding` is the width of a class's vector."""

    classes: int = 80
    slots: int = 29
    hidden: int = 64
    embedding: int = 24
    dropout: float = 0.2


@dataclass(frozen=True, slots=True)
class Layout:
    """Features of p people with n boxes, with any leading dimensions.

    relations: (p, n, RELATIONS); places: (p, PLACES) of each person in the picture; labels and scores: (n,);
    is_same: (p, n), True where a box is one of the person itself.
    """

    relations: Tensor
    places: Tensor
    labels: Tensor
    scores: Tensor
    is_same: Tensor


class LayoutNetwork(nn.Module):
    """A layout to action logits (p, slots) of the people and pair logits (p, n, slots) with each box."""

    def __init__(self, config: LayoutConfig) -> None:
        super().__init__()
        self.config, hidden = config, config.hidden
        self.embedding = nn.Embedding(config.classes, config.embedding)
        self.relation = nn.Sequential(
            nn.Linear(RELATIONS + config.embedding + PLACES, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.pair = nn.Linear(hidden, config.slots)
        self.classes = nn.Embedding(config.classes, config.slots)
        self.person = nn.Sequential(
            nn.Linear(PLACES + 2 * hidden, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, config.slots),
        )
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.zeros_(self.classes.weight)

    def forward(self, layout: Layout) -> tuple[Tensor, Tensor]:
        shape = layout.relations.shape[:-1]
        classes = self.embedding(layout.labels).unsqueeze(-3).expand(*shape, -1)
        places = layout.places.unsqueeze(-2).expand(*shape, -1)
        encoded = self.relation(torch.cat([layout.relations, classes, places], -1))
        pairs = self.pair(encoded) + self.classes(layout.labels).unsqueeze(-3)
        # By their scores, so that the many uncertain boxes of a detector do not drown the others.
        weighted = encoded * (layout.scores.sqrt().unsqueeze(-2) * ~layout.is_same).unsqueeze(-1)
        context = torch.cat([layout.places, weighted.amax(-2), weighted.sum(-2) / SUM_SCALE], -1)
        return cast(Tensor, self.person(context)), pairs


def encode_layout(people: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor, size: Tensor) -> Layout:
    """The layout of people (p, 4) and boxes (n, 4), which include them, in a picture of `size` (2,).

    labels: (n,) indices of classes; scores: (n,); size: width and height in the boxes' pixels.
    """
    overlaps = iou(people, boxes)
    relations = _relations(people.unsqueeze(1), boxes.unsqueeze(0), overlaps, scores)
    return Layout(relations, _places(people, size), labels, scores, (overlaps > SAME_PERSON_IOU) & (labels == PERSON))


def _relations(people: Tensor, boxes: Tensor, overlaps: Tensor, scores: Tensor) -> Tensor:
    """(p, n, RELATIONS) of people (p, 1, 4) and boxes (1, n, 4)."""
    sides, box_sides = (people[..., 2:] - people[..., :2]).clamp_min(1e-3), (boxes[..., 2:] - boxes[..., :2])
    shape = (*overlaps.shape, 1)
    offsets = encode(boxes.expand(*shape[:2], 4), people.expand(*shape[:2], 4)).clamp(-MAX_OFFSET, MAX_OFFSET)
    edges = torch.cat([boxes[..., :2] - people[..., :2], boxes[..., 2:] - people[..., :2]], -1) / sides.repeat(1, 1, 2)
    shared = (
        torch.minimum(people[..., 2:], boxes[..., 2:]) - torch.maximum(people[..., :2], boxes[..., :2])
    ).clamp_min(0)
    area, box_area = sides.prod(-1), box_sides.clamp_min(1e-3).prod(-1)
    apart = (people[..., :2] - boxes[..., 2:]).clamp_min(0) + (boxes[..., :2] - people[..., 2:]).clamp_min(0)
    proportions = box_sides.clamp_min(1).log().diff(dim=-1).neg().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.cat(
        [
            offsets,
            edges.clamp(1 - MAX_OFFSET, MAX_OFFSET),
            torch.stack([shared.prod(-1) / area, shared.prod(-1) / box_area, overlaps], -1),
            (apart / sides).clamp_max(MAX_GAP),
            proportions.expand(shape),
            scores[None, :, None].expand(shape),
        ],
        -1,
    )


def _places(people: Tensor, size: Tensor) -> Tensor:
    """(p, PLACES) of people (p, 4): centre, sides, proportions, area, and whether the picture cuts the legs."""
    centres, sides = (people[:, :2] + people[:, 2:]) / 2, (people[:, 2:] - people[:, :2]).clamp_min(1)
    proportions, area = (sides[:, :1] / sides[:, 1:]).log(), (sides.prod(1) / size.prod()).log()
    is_cut = (people[:, 3] > CUT_SHARE * size[1]).to(people.dtype)
    return torch.cat([centres / size - 0.5, sides / size, proportions, area[:, None], is_cut[:, None]], 1)
