"""Checkpoints that are written atomically."""

from enum import Enum
from pathlib import Path
from typing import Any

import torch

Checkpoint = dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a temporary file and renames it, so that readers get the old or the new checkpoint, never an incomplete
    one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save(plain(checkpoint), partial)
    partial.replace(path)


def plain(value: Any) -> Any:
    """The value with enumerations replaced by their values, because checkpoints are loaded without classes."""
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
