"""Entries of the catalogue: source, size, digest, licence, contract and measured quality of public weights."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from sightline.inference.contract import ContractError, Digest, FileName

CATALOGUE_FILE = Path(__file__).with_name("catalogue.toml")
CONTRACTS_FOLDER = "contracts"
TRAINING = "training"
"""In place of a model's name: weights that a training starts from."""
NOT_MEASURED = "not measured here"

EntryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


class CatalogueError(ContractError):
    """The catalogue has no such entry, or cannot be read."""


class Quality(BaseModel):
    """A figure measured here, beside that of the shipped weights on the same pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: str = Field(description="Metric and pictures, such as `AP_role S1 on 161 V-COCO test pictures`")
    value: float
    shipped: float
    higher_is_better: bool = True

    @property
    def is_better_than_shipped(self) -> bool:
        return self.value > self.shipped if self.higher_is_better else self.value < self.shipped

    def __str__(self) -> str:
        return f"{self.measure}: {self.value:g} (shipped: {self.shipped:g})"


class CatalogueEntry(BaseModel):
    """One file of public weights.

    `sha256` was computed here from the file; `published_sha256` is the publisher's, `sha256_prefix` the part in the
    file's name. `redirect_hosts` are the hosts (with their subdomains) that a source may redirect to. `terms` restrict
    the use beyond the licence; they must be accepted. `contract` is a file in `contracts` beside the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: EntryName
    title: str
    model: str
    stage: str | None = None
    backbone: str | None = None
    file: FileName
    sources: tuple[str, ...] = Field(min_length=1)
    redirect_hosts: tuple[str, ...] = ()
    size_bytes: int | None = Field(default=None, gt=0)
    about_bytes: int | None = Field(default=None, gt=0, description="Where the exact size is not known")
    sha256: Digest | None = None
    published_sha256: Digest | None = None
    sha256_prefix: Annotated[str, Field(pattern=r"^[0-9a-f]{8,63}$")] | None = None
    licence: str
    licence_url: str
    terms: str | None = None
    contract: FileName | None = None
    quality: Quality | None = None
    contracts_folder: Path = Field(exclude=True)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.size_bytes is None) == (self.about_bytes is None):
            raise ValueError("give either size_bytes or about_bytes")
        if self.is_for_training != (self.backbone is not None) or self.is_for_training == (self.contract is not None):
            raise ValueError("an entry for training names a backbone, any other a contract")
        if faulty := [source for source in self.sources if not is_web_address(source)]:
            raise ValueError(f"{faulty[0]} is no https:// or http:// address")
        return self

    @property
    def is_for_training(self) -> bool:
        return self.model == TRAINING

    @property
    def expected_bytes(self) -> int:
        """The exact size, or an estimate."""
        return self.size_bytes or self.about_bytes or 0

    @property
    def contract_path(self) -> Path | None:
        return self.contracts_folder / self.contract if self.contract else None

    @property
    def purpose(self) -> str:
        """Purpose of the weights, such as `hoi (detection)`."""
        if self.is_for_training:
            return f"training ({self.backbone})"
        return f"{self.model} ({self.stage})" if self.stage else self.model

    @property
    def quality_text(self) -> str:
        return str(self.quality) if self.quality else NOT_MEASURED

    @property
    def advice(self) -> str:
        """A sentence for users of weaker weights."""
        return f"Stronger weights for {self.model}: {self.name}, {self.quality_text}."

    @property
    def digest_text(self) -> str:
        """The level of trust in the digest."""
        if self.sha256:
            return "verified here"
        if self.published_sha256:
            return "the publisher's; not verified here"
        if self.sha256_prefix:
            return f"begins with {self.sha256_prefix} by its file name; not verified here"
        return "not verified here"

    def contradicts(self, sha256: str) -> str | None:
        """Returns the digest, or its beginning, that a file's digest should have had; None if it may be right."""
        if self.sha256 and sha256 != self.sha256:
            return self.sha256
        if self.published_sha256 and sha256 != self.published_sha256:
            return self.published_sha256
        if self.sha256_prefix and not sha256.startswith(self.sha256_prefix):
            return f"{self.sha256_prefix}..."
        return None

    def allows_host(self, host: str) -> bool:
        """Returns whether a source may redirect to the host."""
        return any(host == each or host.endswith(f".{each}") for each in self.redirect_hosts)


def is_web_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("https", "http") and bool(parts.hostname)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Entries by name, in the order of their file."""

    entries: Mapping[str, CatalogueEntry]

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(self.entries.values())

    def find(self, name: str) -> CatalogueEntry:
        """Returns the entry; raises CatalogueError with similar names if there is none."""
        if name in self.entries:
            return self.entries[name]
        near = difflib.get_close_matches(name, self.entries, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.entries)}"
        raise CatalogueError(f"The catalogue of weights has no entry {name!r}; {hint}")

    def stronger(self, model: str, in_use: str | None = None) -> CatalogueEntry | None:
        """Returns the entry with the best measured quality for a model, if it is better than the weights in use.

        `in_use` is the name of an entry; None stands for the shipped weights. Figures of different measures are not
        compared.
        """
        used = self.entries.get(in_use) if in_use else None
        if in_use and (used is None or used.quality is None):
            return None
        current = used.quality if used else None
        better = [each for each in self if each.model == model and _is_better(each.quality, current)]
        return max(better, key=lambda each: _goodness(each.quality), default=None)

    def __or__(self, other: "Catalogue") -> "Catalogue":
        return Catalogue({**self.entries, **other.entries})


def _is_better(quality: Quality | None, current: Quality | None) -> bool:
    if quality is None:
        return False
    if current is None:
        return quality.is_better_than_shipped
    return quality.measure == current.measure and _goodness(quality) > _goodness(current)


def _goodness(quality: Quality | None) -> float:
    assert quality is not None
    return quality.value if quality.higher_is_better else -quality.value


@cache
def shipped_catalogue() -> Catalogue:
    """Returns the catalogue that comes with Sightline."""
    return read_catalogue(CATALOGUE_FILE)


def read_catalogue(path: Path) -> Catalogue:
    """Reads a catalogue; raises CatalogueError with the file and the fault if that is not possible."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        folder = path.absolute().parent / CONTRACTS_FOLDER
        named = {name: {"name": name, "contracts_folder": folder, **table} for name, table in tables.items()}
        return Catalogue(TypeAdapter(dict[str, CatalogueEntry]).validate_python(named))
    except OSError as error:
        raise CatalogueError(f"{path}: the catalogue cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path}: not TOML: {error}") from error
    except TypeError as error:
        raise CatalogueError(f"{path}: each entry must be a table, such as [my-weights]") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CatalogueError(f"{path}: {faults}") from error
