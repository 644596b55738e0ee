"""Which weights a model runs: those shipped with it, or those that the settings point at."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sightline.api.evidence import ModelIdentity
from sightline.serving.contract import Contract, ContractError, read_contract
from sightline.serving.settings import ServiceSettings

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Weights:
    """An ONNX file with its declared contract; `sha256` is of the file's bytes."""

    path: Path
    sha256: str
    contract: Contract
    shipped: bool

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


def load_weights(path: Path, contract: Path, *, shipped: bool) -> Weights:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ContractError(f"{path}: there are no readable weights: {error.strerror}") from error
    return Weights(path, digest, read_contract(contract), shipped)
