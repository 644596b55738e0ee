"""Pooled features of frozen trunks, computed once for every view and cached on disk in half precision."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.networks.backbones import Trunk, load_trunk
from sightline.training.hra_screening.examples import Example
from sightline.training.hra_screening.views import Views
from sightline.training.photos import read_rgb

log = logging.getLogger(__name__)
LOG_EVERY = 100
UNSAFE = re.compile(r"[^\w.-]")

Features = NDArray[np.float16]
"""(examples, views, channels)"""


@dataclass(frozen=True, slots=True)
class Pooled:
    """The same feature maps pooled by their average and by their maximum."""

    average: Features
    maximum: Features


def pooled_features(backbone: str, examples: Sequence[Example], views: Views, folder: Path) -> Pooled:
    """The cached features of exactly these pictures; computed and cached if there are none."""
    path = folder / f"{UNSAFE.sub('_', backbone)}-{views.px}-{views.count}.npz"
    names = [f"{example.path.parent.name}/{example.path.name}" for example in examples]
    if path.exists():
        with np.load(path) as kept:
            if kept["names"].tolist() == names:
                return Pooled(kept["average"], kept["maximum"])
    pooled = _compute(load_trunk(backbone), examples, views)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, names=np.array(names), average=pooled.average, maximum=pooled.maximum)
    partial.replace(path)
    return pooled


def _compute(trunk: Trunk, examples: Sequence[Example], views: Views) -> Pooled:
    trunk.eval()
    average, maximum = [], []
    for at, example in enumerate(examples):
        # A picture's seed is its index, so that its random views do not depend on the other pictures.
        pixels = torch.from_numpy(views(read_rgb(example.path), seed=at))
        with torch.inference_mode():
            maps = trunk(pixels.permute(0, 3, 1, 2).float() / 255)
        average.append(maps.mean((2, 3)).half().numpy())
        maximum.append(maps.amax((2, 3)).half().numpy())
        if at % LOG_EVERY == 0:
            log.info("features of %d of %d pictures", at, len(examples))
    return Pooled(np.stack(average), np.stack(maximum))
