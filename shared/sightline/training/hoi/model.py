"""InteractNet's training configuration, its trained model as a file, and the weights that a training starts from."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sightline.networks.backbones import load_trunk
from sightline.networks.faster_rcnn import DetectorConfig, ProposalConfig
from sightline.networks.feature_pyramid import TrunkLevels
from sightline.networks.interactnet import InteractNet, InteractNetConfig
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training import schedule
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.export import read_state


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    """Everything that a run of InteractNet depends on, saved in its checkpoints.

    `train_store` and `validation_folder` are scene stores. `trunk` names the weights to start from, `teacher` the file
    of the detector whose features are imitated. With `trains_stem` the whole trunk is trained, and stem and teacher run
    on the network's device, which suits a GPU.
    """

    network: InteractNetConfig = field(default_factory=InteractNetConfig)
    trunk: str = "efficientnet-lite0"
    teacher: str | None = None
    trains_stem: bool = False
    stages: tuple[schedule.Stage, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained network with the parameters that compose its scores."""

    network: InteractNet
    composition: Composition

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            {
                "config": {"network": asdict(self.network.config), "composition": asdict(self.composition)},
                "average": self.network.state_dict(),
            },
        )


def load_model(path: Path) -> Model:
    """The model of `Model.save`, or of a training checkpoint, which has the default composition."""
    saved = load_checkpoint(path)
    network = InteractNet(network_config_from(saved["config"]["network"]))
    network.load_state_dict(saved["average"])
    return Model(network.eval(), _composition(saved["config"].get("composition", {})))


def network_config_from(saved: dict[str, Any]) -> InteractNetConfig:
    """The network's configuration from a checkpoint's dictionary."""
    detector = dict(saved["detector"])
    # Checkpoints of earlier versions have this part under `proposing`.
    proposals = detector.pop("proposals", None) or detector.pop("proposing")
    return InteractNetConfig(**saved | {"detector": DetectorConfig(**detector, proposals=ProposalConfig(**proposals))})


def _composition(saved: dict[str, Any]) -> Composition:
    return Composition(**saved | {"action_score": ActionScore(saved.get("action_score", ActionScore.GEOMETRIC_MEAN))})


def load_start_weights(network: InteractNet, start: Path) -> None:
    """Loads the weights of a checkpoint, or of a folder with detector.onnx and interactions.onnx.

    ValueError if the exported graphs are of another network.
    """
    if not start.is_dir():
        network.load_state_dict(load_checkpoint(start)["average"])
        return
    state = read_state(start / "detector.onnx", "") | read_state(start / "interactions.onnx", "network.")
    expected = {name: part.shape for name, part in network.state_dict().items()}
    weights = {name: torch.from_numpy(state[name]) for name in expected if name in state}
    if {name: part.shape for name, part in weights.items()} != expected:
        raise ValueError(f"{start} has weights of another network; its backbone, widths and slots must be the same")
    network.load_state_dict(weights)


def with_trunk(config: InteractNetConfig, trunk: str) -> InteractNet:
    """An untrained network on a pre-trained trunk."""
    network = InteractNet(config)
    network.detector.trunk = TrunkLevels(load_trunk(trunk))
    return network
