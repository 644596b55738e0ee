"""Changes of the folder of installed weights: new entries, pinned digests, and the entry that a model uses."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline.cli.output import CommandError, printable, write_whole
from sightline.cli.state_folder import WEIGHTS
from sightline.cli.weights.part_file import PartFile
from sightline.inference.catalogue.entries import CatalogueEntry
from sightline.inference.catalogue.installed import (
    IN_USE_FILE,
    PINS_FILE,
    RECORD_FILE,
    InstalledRecord,
    InstalledWeights,
    WeightsFolder,
)
from sightline.runtime.private_files import private_folder

INCOMING = ".incoming"
FOLDER_MODE, FILE_MODE = 0o755, 0o644
"""Public weights: a container's user reads them, whose id differs from the owner's."""


@dataclass(frozen=True, slots=True)
class WeightsStore:
    """The folder of the weights in a state folder, with the rights to change it."""

    state: Path

    @property
    def folder(self) -> WeightsFolder:
        return WeightsFolder(self.state / WEIGHTS)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder against other commands that change it; raises CommandError if one is running."""
        try:
            if not self.state.exists():
                private_folder(self.state)
            self._incoming.mkdir(parents=True, exist_ok=True)
            self.folder.path.chmod(FOLDER_MODE)
            file = (self._incoming / "lock").open("a")
        except OSError as error:
            raise CommandError(f"{printable(str(self.folder.path))} cannot be written: {error.strerror}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    "another `sightline weights` changes this folder; wait until it has finished"
                ) from None
            yield

    def part_file(self, entry: CatalogueEntry) -> PartFile:
        """Returns the part file of an entry, which outlives an interrupted command."""
        return PartFile(self._incoming / f"{entry.name}.part")

    def stage(self, entry: CatalogueEntry, part: PartFile, sha256: str, source: str) -> InstalledWeights:
        """Prepares an entry's folder aside, with file, contract and record, to be checked before it is put in place."""
        folder = self._incoming / entry.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        record = InstalledRecord(
            name=entry.name,
            model=entry.model,
            stage=entry.stage,
            backbone=entry.backbone,
            file=entry.file,
            size_bytes=part.size,
            sha256=sha256,
            source=source,
            installed_at=datetime.now(UTC),
        )
        staged = InstalledWeights(record, folder)
        if entry.contract_path is not None:
            staged.contract_path.write_text(contract_with_digest(entry.contract_path, entry.file, sha256), "utf-8")
        (folder / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", "utf-8")
        part.path.rename(staged.path)
        _make_readable(folder)
        return staged

    def unstage(self, entry: CatalogueEntry, staged: InstalledWeights, *, keep: bool) -> None:
        """Removes a prepared folder; with `keep`, its file becomes the part file again."""
        if keep and staged.path.exists():
            staged.path.rename(self.part_file(entry).path)
        shutil.rmtree(staged.folder, ignore_errors=True)

    def put_in_place(self, staged: InstalledWeights) -> InstalledWeights:
        """Moves a prepared folder to its place, in one step; an earlier installation is replaced."""
        name = staged.record.name
        place, old = self.folder.path / name, self._incoming / f"{name}.old"
        shutil.rmtree(old, ignore_errors=True)
        _sync(staged.folder)
        if place.exists():
            place.rename(old)
        staged.folder.rename(place)
        shutil.rmtree(old, ignore_errors=True)
        return InstalledWeights(staged.record, place)

    def pin(self, name: str, sha256: str) -> None:
        """Pins the digest of an entry: a download with another one is refused from now on."""
        self._write(PINS_FILE, self.folder.pins() | {name: sha256})

    def use(self, model: str, name: str | None) -> None:
        """Makes a model use an entry from its next start, or its shipped weights with None."""
        others = {each: entry for each, entry in self.folder.in_use().items() if each != model}
        self._write(IN_USE_FILE, others | ({model: name} if name else {}))

    @property
    def _incoming(self) -> Path:
        return self.folder.path / INCOMING

    def _write(self, name: str, values: dict[str, str]) -> None:
        file = self.folder.path / name
        write_whole(file, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())
        file.chmod(FILE_MODE)


def contract_with_digest(contract: Path, file: str, sha256: str) -> str:
    """Returns the text of a contract with the SHA-256 of the installed file in its `[sha256]`."""
    try:
        text = contract.read_text("utf-8")
    except OSError as error:
        raise CommandError(f"{printable(str(contract))}: the contract cannot be read: {error.strerror}") from None
    return f'{text.rstrip()}\n\n[sha256]\n"{file}" = "{sha256}"\n'


def _make_readable(folder: Path) -> None:
    folder.chmod(FOLDER_MODE)
    for file in folder.iterdir():
        file.chmod(FILE_MODE)


def _sync(folder: Path) -> None:
    """Writes the folder's files to the disk, so that no power failure leaves an installed but empty file."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
