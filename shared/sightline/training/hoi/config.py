"""What a run of InteractNet depends on, saved inside its checkpoints."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.faster_rcnn import DetectorConfig
from sightline.networks.interactnet import InteractNetConfig
from sightline.networks.proposals import Proposing
from sightline.training import schedule


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    """`train_store` and `validation_folder` are scene stores.

    `trunk` names the weights to start from, `teacher` the file of the detector whose features are imitated, if any.
    With `trains_stem` all of the trunk learns, and stem and teacher run where the network does, which suits a GPU.
    """

    network: InteractNetConfig = field(default_factory=InteractNetConfig)
    trunk: str = "efficientnet-lite0"
    teacher: str | None = None
    trains_stem: bool = False
    stages: tuple[schedule.Stage, ...] = ()


def network_from(saved: dict[str, Any]) -> InteractNetConfig:
    """The network's part out of a checkpoint's dictionary."""
    proposing = Proposing(**saved["detector"]["proposing"])
    return InteractNetConfig(**saved | {"detector": DetectorConfig(**saved["detector"] | {"proposing": proposing})})
