"""Linear classifiers on frozen features: multinomial logistic regression with weights for classes and sources."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sightline.api.screening import CATEGORIES

ITERATIONS = 60
MIN_DEVIATION = 1e-4

Logits = NDArray[np.float32]
"""(examples, 9)"""


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """A linear classifier: logits = features @ weight.T + bias, with weight (9, channels)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: NDArray[np.floating]) -> Logits:
        """Logits of features (examples, views, channels), averaged over the views."""
        return np.asarray((features.astype(np.float32) @ self.weight.T + self.bias).mean(1), np.float32)


def fit_head(
    features: NDArray[np.floating], labels: NDArray[np.int64], weights: NDArray[np.float32], *, penalty: float
) -> LinearHead:
    """Fits a head on every view of features (examples, views, channels). `penalty` is on the squared weights of centred
    features.

    All channels are scaled by the same factor, because their deviations reflect their importance.
    """
    views = features.shape[1]
    flat = torch.from_numpy(features.reshape(-1, features.shape[2]).astype(np.float32))
    mean, scale = flat.mean(0), max(float(flat.std(0).mean()), MIN_DEVIATION)
    target = torch.from_numpy(labels).repeat_interleave(views)
    weight, bias = _solve((flat - mean) / scale, target, torch.from_numpy(weights).repeat_interleave(views), penalty)
    weight = weight / scale
    return LinearHead(weight.numpy(), (bias - weight @ mean).numpy())


def _solve(inputs: Tensor, target: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(len(CATEGORIES), inputs.shape[1], requires_grad=True)
    bias = torch.zeros(len(CATEGORIES), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = F.cross_entropy(inputs @ weight.T + bias, target, reduction="none")
        total = (weights * each).mean() + penalty * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()
