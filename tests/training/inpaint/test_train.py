from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sightline.networks.partial_conv import PartialConvConfig
from sightline.training.checkpoints import load_checkpoint
from sightline.training.inpaint.config import Stage, TrainConfig, config_from
from sightline.training.inpaint.losses import LossWeights
from sightline.training.inpaint.train import train
from sightline.training.photos import list_photos, pack_photos

PIXELS = LossWeights(perceptual=0, style=0, total_variation=0)
SHORT = Stage(minutes=2 / 60, crop_px=32, batch_size=4, learning_rate=3e-3, losses=PIXELS)


@pytest.fixture
def config(photo_folder: Path, tmp_path: Path) -> TrainConfig:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=64)
    network = PartialConvConfig(levels=3, base_width=8)
    folders = (str(tmp_path / "store"), str(photo_folder), str(tmp_path / "run"))
    return TrainConfig(*folders, network=network, stages=(SHORT,), precision="fp32")


def test_training_learns_saves_and_resumes(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config)
    best = load_checkpoint(tmp_path / "run" / "best.pt")

    second = train(replace(config, stages=(SHORT, replace(SHORT, freeze_encoder_norm=True))))

    assert first.stage == 1
    assert first.best_score > 10
    assert config_from(best["config"]) == config
    assert second.stage == 2
    assert second.step > first.step
    assert second.samples == 4 * second.step
    assert second.best_score >= first.best_score


def test_finished_run_does_nothing_when_repeated(config: TrainConfig) -> None:
    done = train(config)

    assert train(config) == done


def test_saved_average_differs_from_the_last_weights(config: TrainConfig, tmp_path: Path) -> None:
    train(config)

    last = load_checkpoint(tmp_path / "run" / "last.pt")
    name = "encoder.0.conv.conv.weight"
    assert not torch.equal(last["average"][name], last["network"][name])
