"""Which weights a model runs: those shipped with it, or those that the settings point at."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from sightline.api.evidence import ModelIdentity
from sightline.serving.contract import Contract, ContractError, read_contract
from sightline.serving.settings import ServiceSettings

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Weights:
    """An ONNX file with its declared contract, and the further files that this names.

    `sha256` is of the file's bytes, followed by those of its parts in the order of their names.
    """

    path: Path
    sha256: str
    contract: Contract
    shipped: bool
    parts: Mapping[str, Path] = field(default_factory=dict)

    def identity(self, name: str) -> ModelIdentity:
        return ModelIdentity(
            name=name,
            version=self.contract.version,
            weights_sha256=self.sha256,
            contract=SHIPPED if self.shipped else self.contract.name,
        )


def resolve_weights(settings: ServiceSettings, shipped: Path) -> Weights:
    """The weights at `settings.weights` if set, else those at `shipped`; a contract lies beside its file as .toml."""
    path = settings.weights or shipped
    contract = (settings.contract if settings.weights else None) or path.with_suffix(".toml")
    return load_weights(path, contract, shipped=settings.weights is None)


def weights_and_card(settings: ServiceSettings, package: str, file: str) -> tuple[Weights, str]:
    """What a service's folder brings along: its weights, unless the settings name others, and its model card."""
    folder = Path(str(resources.files(package)))
    return resolve_weights(settings, folder / "weights" / file), (folder / "MODEL_CARD.md").read_text("utf-8")


def load_weights(path: Path, contract: Path, *, shipped: bool) -> Weights:
    digest = hashlib.sha256()
    _digest_file(path, digest)
    declared = read_contract(contract)
    parts = {name: path.with_name(file) for name, file in sorted(declared.parts.items())}
    for part in parts.values():
        _digest_file(part, digest)
    return Weights(path, digest.hexdigest(), declared, shipped, parts)


def _digest_file(path: Path, digest: "hashlib._Hash") -> None:
    try:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    except OSError as error:
        raise ContractError(f"{path}: there are no readable weights: {error.strerror}") from error
