from enum import StrEnum
from pathlib import Path

import pytest
import torch

from sightline.training.checkpoints import load_checkpoint, save_checkpoint


def test_checkpoint_survives_saving_and_loading(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "runs" / "last.pt", {"weights": torch.arange(3), "step": 7})

    saved = load_checkpoint(tmp_path / "runs" / "last.pt")

    assert saved["step"] == 7
    assert torch.equal(saved["weights"], torch.arange(3))


class Colour(StrEnum):
    RED = "red"


def test_enumerations_are_saved_by_their_values(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {"config": {"colours": (Colour.RED,), "one": [Colour.RED]}})

    assert load_checkpoint(tmp_path / "last.pt") == {"config": {"colours": ("red",), "one": ["red"]}}


def test_failed_save_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: None})

    assert load_checkpoint(path)["step"] == 1
