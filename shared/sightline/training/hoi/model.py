"""A trained network with how its scores are composed, as a file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sightline.networks.interactnet import InteractNet
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.hoi.config import network_from


@dataclass(frozen=True, slots=True, eq=False)
class Model:
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
    """Of `Model.save`, or of the training loop, whose networks have no composition of their own yet."""
    saved = load_checkpoint(path)
    network = InteractNet(network_from(saved["config"]["network"]))
    network.load_state_dict(saved["average"])
    return Model(network.eval(), _composition(saved["config"].get("composition", {})))


def _composition(saved: dict[str, Any]) -> Composition:
    return Composition(**saved | {"action_score": ActionScore(saved.get("action_score", ActionScore.GEOMETRIC_MEAN))})
