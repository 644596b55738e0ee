"""Checkpoints that survive being cut off at any moment."""

from enum import Enum
from pathlib import Path
from typing import Any

import torch

Checkpoint = dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes aside, then renames: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save(plain(checkpoint), partial)
    partial.replace(path)


def plain(value: Any) -> Any:
    """Returns the value with its enumerations replaced by their values, as loading takes no classes from a file."""
    match value:
        case Enum():
            return value.value
        case dict():
            return {name: plain(part) for name, part in value.items()}
        case list() | tuple():
            return type(value)(plain(part) for part in value)
        case _:
            return value


def load_checkpoint(path: Path) -> Checkpoint:
    checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint
