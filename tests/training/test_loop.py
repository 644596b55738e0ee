"""Runs of a tiny inpainting network, on a clock that advances one second at every reading."""

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sightline.networks.partial_conv import PartialConvConfig
from sightline.training import loop
from sightline.training.checkpoints import load_checkpoint
from sightline.training.inpaint.config import Stage, TrainConfig
from sightline.training.inpaint.data import Batch
from sightline.training.inpaint.losses import LossWeights
from sightline.training.inpaint.train import InpaintTask
from sightline.training.loop import DataChangedError, Score, moving_average
from sightline.training.photos import list_photos, pack_photos
from sightline.training.runtime import Precision

STEPS = 12
PIXELS = LossWeights(perceptual=0, style=0, total_variation=0)
STAGE = Stage(minutes=STEPS / 60, crop_px=32, batch_size=2, learning_rate=3e-3, losses=PIXELS)

pytestmark = pytest.mark.usefixtures("steady_clock")


class Cut(Exception):
    """Ends a run as a lost machine would."""


class RecordedTask(InpaintTask):
    """Records the losses of each step with some random noise in them, and may end the run before a step."""

    def __init__(self, config: TrainConfig, *, cut_before: int | None = None) -> None:
        super().__init__(config)
        self.recorded: list[float] = []
        self.cut_before = cut_before

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        if network is self.network and len(self.recorded) == self.cut_before:
            raise Cut
        losses = super().losses(network, batch, stage)
        noisy = {name: loss * (1 + 0.1 * torch.rand(())) for name, loss in losses.items()}
        if network is self.network:
            self.recorded.append(float(torch.stack(list(noisy.values())).sum().detach()))
        return noisy

    def validator(self) -> Score:
        return lambda _network, _device: 0.0


@pytest.fixture
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(readings))))


@pytest.fixture
def config(photo_folder: Path, tmp_path: Path) -> TrainConfig:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=64)
    return TrainConfig(
        str(tmp_path / "store"),
        str(photo_folder),
        str(tmp_path / "run"),
        network=PartialConvConfig(levels=2, base_width=4),
        stages=(STAGE, replace(STAGE, learning_rate=1e-3)),
        save_every_minutes=5 / 60,
        loaders=0,
        warm_up_steps=4,
    )


def run(config: TrainConfig, *, cut_before: int | None = None) -> RecordedTask:
    task = RecordedTask(config, cut_before=cut_before)
    try:
        loop.train(lambda: task)
    except Cut:
        assert cut_before is not None
    return task


def times_both(step: Callable[[Precision], object], _device: torch.device) -> Precision:
    """Runs both precisions as timing does, but with the same choice each time."""
    step("fp32")
    step("bf16")
    return "bf16"


def test_cut_run_continues_step_by_step(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "fastest_precision", times_both)
    whole = run(config)
    torch.manual_seed(99)

    first = run(replace(config, out_folder=str(tmp_path / "cut")), cut_before=8)
    saved = load_checkpoint(tmp_path / "cut" / "last.pt")
    second = run(replace(config, out_folder=str(tmp_path / "cut")))

    assert saved["progress"]["step"] == 5
    assert len(whole.recorded) == 2 * STEPS
    assert first.recorded == whole.recorded[:8]
    assert second.recorded == whole.recorded[5:]
    ends = [load_checkpoint(tmp_path / folder / "last.pt") for folder in ("run", "cut")]
    for part in ("network", "average"):
        assert all(torch.equal(ends[0][part][name], ends[1][part][name]) for name in ends[0][part])


def test_checkpoint_holds_settings_data_and_precision(config: TrainConfig, tmp_path: Path) -> None:
    run(config, cut_before=8)

    saved = load_checkpoint(tmp_path / "run" / "last.pt")

    assert saved["progress"]["precision"] in ("fp32", "bf16")
    assert saved["config"]["max_gradient_norm"] == 1.0
    assert saved["config"]["ema_decay"] == 0.999
    assert saved["config"]["stages"][0]["learning_rate"] == 3e-3
    assert saved["optimizer"]["param_groups"][0]["weight_decay"] == 1e-4
    assert {name: len(digest) for name, digest in saved["data"].items()} == {"train_store": 64, "validation_folder": 64}


def test_resumed_stage_keeps_the_precision_it_began_with(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "fastest_precision", lambda _step, _device: "bf16")
    run(config, cut_before=8)
    monkeypatch.setattr(loop, "fastest_precision", lambda _step, _device: pytest.fail("timed again"))

    assert len(run(replace(config, stages=(STAGE,))).recorded) == STEPS - 5


def test_resuming_with_other_data_is_refused(config: TrainConfig, photo_folder: Path, tmp_path: Path) -> None:
    run(config, cut_before=8)
    pack_photos(list_photos(photo_folder)[1:], tmp_path / "store", short_side_px=64)

    with pytest.raises(DataChangedError, match="train_store"):
        run(config)


def test_resuming_with_another_configuration_is_logged(config: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    run(config, cut_before=8)

    with caplog.at_level(logging.WARNING):
        run(replace(config, max_gradient_norm=2.0))

    assert "differs from the checkpoint's in max_gradient_norm" in caplog.text


def test_moving_average_follows_weights_and_copies_counters() -> None:
    network = nn.BatchNorm1d(1)
    average = moving_average(network, decay=0.5)
    for value in (1, 3):
        new = {"weight": torch.full((1,), float(value)), "num_batches_tracked": torch.tensor(value)}
        network.load_state_dict(network.state_dict() | new)
        average.update_parameters(network)

    state = average.module.state_dict()
    # The first update copies, the second has a decay of 3/12.
    assert float(state["weight"]) == pytest.approx(0.25 * 1 + 0.75 * 3)
    assert int(state["num_batches_tracked"]) == 3
