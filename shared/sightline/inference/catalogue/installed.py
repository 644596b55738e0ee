"""Installed entries of the catalogue: their folder, records, pinned digests, and which of them are in use.

The folder of the weights, `.sightline/weights` of a fleet on one machine, has a folder for each installed entry with
the file, its contract and a record; `in-use.json` names the entry of each model, `pins.json` the digests that the user
confirmed. It needs no catalogue to be read, so that it can be copied to a site without one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.inference.contract import ContractError

REFERENCE = "catalogue:"
DEFAULT_FOLDER = Path(".sightline/weights")
RECORD_FILE, IN_USE_FILE, PINS_FILE = "installed.json", "in-use.json", "pins.json"
BLOCK_BYTES = 1 << 20


class InstalledRecord(BaseModel):
    """Record of an installation: the file, its source and the time."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    stage: str | None = None
    backbone: str | None = None
    file: str
    size_bytes: int
    sha256: str
    source: str
    installed_at: datetime


@dataclass(frozen=True, slots=True)
class InstalledWeights:
    """An installed entry: its record and its folder."""

    record: InstalledRecord
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / self.record.file

    @property
    def contract_path(self) -> Path:
        return self.path.with_suffix(".toml")

    def require_intact(self) -> None:
        """Raises ContractError if the file is missing, or its size or digest differs from the record."""
        name = self.record.name
        hint = f"install it again with `sightline weights get {name}`"
        try:
            size, digest = self.path.stat().st_size, digest_of(self.path)
        except OSError as error:
            raise ContractError(f"{self.path}: {name} cannot be read: {error.strerror}; {hint}") from None
        if size != self.record.size_bytes:
            raise ContractError(f"{self.path}: {name} has {size} bytes instead of {self.record.size_bytes}; {hint}")
        if digest != self.record.sha256:
            raise ContractError(
                f"{self.path}: {name} is damaged: its SHA-256 is {digest}, it was installed with "
                f"{self.record.sha256}; {hint}"
            )


@dataclass(frozen=True, slots=True)
class WeightsFolder:
    """The folder of installed weights."""

    path: Path

    def __iter__(self) -> Iterator[InstalledWeights]:
        """Yields the installed entries by name."""
        for record in sorted(self.path.glob(f"*/{RECORD_FILE}")):
            if (found := self.find(record.parent.name)) is not None:
                yield found

    def find(self, name: str) -> InstalledWeights | None:
        """Returns the installed entry, or None; raises ContractError if its record cannot be read."""
        if name != Path(name).name or name.startswith("."):
            return None
        file = self.path / name / RECORD_FILE
        try:
            record = InstalledRecord.model_validate_json(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise ContractError(
                f"{file}: the record cannot be read ({type(error).__name__}); install {name} again with "
                f"`sightline weights get {name}`"
            ) from error
        return InstalledWeights(record, file.parent)

    def require(self, name: str) -> InstalledWeights:
        """Returns the installed entry; raises ContractError with the command to install it if there is none."""
        if (found := self.find(name)) is None:
            raise ContractError(
                f"{name!r} of the catalogue is not installed in {self.path}; run `sightline weights get {name}`, or "
                "`sightline weights list` for all names"
            )
        return found

    def in_use(self) -> dict[str, str]:
        """Returns the entry that each model uses; models with their shipped weights are left out."""
        return self._read(IN_USE_FILE)

    def pins(self) -> dict[str, str]:
        """Returns the digests that the user confirmed, by entry."""
        return self._read(PINS_FILE)

    def _read(self, name: str) -> dict[str, str]:
        file = self.path / name
        try:
            values = json.loads(file.read_text("utf-8"))
            return {str(key): str(value) for key, value in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise ContractError(f"{file}: cannot be read ({type(error).__name__}); mend or remove it") from error


def is_reference(weights: object) -> bool:
    """Returns whether a setting refers to an entry, as `catalogue:NAME`, and not to a file."""
    return str(weights).startswith(REFERENCE)


def resolve_reference(reference: object, folder: Path) -> InstalledWeights:
    """Returns the installed weights that `catalogue:NAME` refers to; raises ContractError if they are not installed."""
    return WeightsFolder(folder).require(str(reference).removeprefix(REFERENCE))


def resolve_settings(values: Mapping[str, object]) -> dict[str, object]:
    """Returns settings with files in place of references in `weights` and `detector`.

    Weights of the stage `detection` replace the detector alone, so they become the setting of that name.
    """
    resolved, folder = dict(values), Path(str(values.get("weights_folder") or DEFAULT_FOLDER))
    for name in ("weights", "detector"):
        # Compose files pass variables on that may not be set.
        if resolved.get(name) == "":
            resolved[name] = None
        if not is_reference(values.get(name)):
            continue
        found = resolve_reference(values[name], folder)
        if found.record.stage == "detection":
            resolved[name] = None
            resolved["detector"] = found.folder
        elif name == "weights" and found.record.backbone is None:
            resolved["weights"], resolved["contract"] = found.path, found.contract_path
        else:
            raise ContractError(
                f"{found.record.name} serves {found.record.model}, it cannot be the {name} of a service"
            )
    return resolved


def entry_of(path: Path | None, folder: Path) -> str | None:
    """Returns the name of the entry whose folder or file the path is; None for other files."""
    if path is None:
        return None
    parts = path.absolute().parts
    base = folder.absolute().parts
    return parts[len(base)] if parts[: len(base)] == base and len(parts) > len(base) else None


def digest_of(path: Path) -> str:
    """Returns a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
