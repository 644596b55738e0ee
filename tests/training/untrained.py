"""Weights that are as different from one another as trained ones: equal tensors would be merged in an ONNX file."""

from collections.abc import Mapping

import torch
from torch import Tensor


def set_apart(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Changes a network's state in place."""
    for name, values in weights.items():
        if "running_var" in name:
            values.uniform_(0.5, 1.5)
        elif name.endswith(("bias", "running_mean")) or ".norm." in name:
            values += torch.rand(values.shape).mul(0.1).to(values.dtype)
    return weights
