"""The manifest of a batch, one line for each picture, from which a run that was killed continues."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self
from uuid import uuid4

import obstore
from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.cli.batch.sources import STORE_ERRORS, SourceFile, first_line, is_store_url, open_store
from sightline.cli.output import CommandError, printable
from sightline.cli.screening.journal import TRANSIENT, FileError

PART_LINES = 500
PART_S = 15.0
"""A store cannot append: a part is written after so many lines or seconds, which is what a kill can lose."""


class BatchSettings(BaseModel):
    """First line of each manifest: the settings that all its results have in common. model: with its weights."""

    model_config = ConfigDict(frozen=True)

    model: str
    media_type: str
    options: dict[str, str] = {}


class BatchEntry(BaseModel):
    """One picture: its result or its error.

    file: relative to the source; version: of the source's file; result: relative to the destination; seconds: reading,
    inference and writing together.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    version: str
    size_bytes: int
    sha256: str | None = None
    result: str | None = None
    error: FileError | None = None
    model: str | None = None
    request_id: str | None = None
    seconds: float | None = None

    @property
    def is_transient(self) -> bool:
        """True for an error that a later attempt may not meet."""
        return self.error is not None and self.error.code in TRANSIENT


class ManifestFile(Protocol):
    """Storage of manifest lines. `lines` yields those of all shards, complete lines only."""

    def lines(self) -> Iterator[str]: ...
    def append(self, lines: Iterable[str]) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


class Manifest:
    """Results of earlier runs and of this one. Raises CommandError if earlier results have other settings."""

    def __init__(self, storage: ManifestFile, settings: BatchSettings, *, place: str) -> None:
        self._storage, self.settings = storage, settings
        self.entries: dict[str, BatchEntry] = {}
        self._begun = False
        for line in storage.lines():
            self._read(line, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._storage.close()

    def add(self, entry: BatchEntry) -> None:
        lines = [] if self._begun else [self.settings.model_dump_json()]
        self._begun = True
        self.entries[entry.file] = entry
        self._storage.append([*lines, entry.model_dump_json(exclude_none=True)])

    def has_current(self, file: SourceFile, *, retry_failed: bool) -> bool:
        """Returns whether the file in its present version needs no further attempt."""
        entry = self.entries.get(file.name)
        if entry is None or entry.version != file.version:
            return False
        return entry.error is None or not (retry_failed or entry.is_transient)

    def _read(self, line: str, place: str) -> None:
        try:
            if line.startswith('{"model"'):
                self._require_same(BatchSettings.model_validate_json(line), place)
            else:
                entry = BatchEntry.model_validate_json(line)
                self.entries[entry.file] = entry
        except ValidationError as error:
            raise CommandError(
                f"the manifest in {printable(place)} is not one of this version; start again with --anew"
            ) from error

    def _require_same(self, earlier: BatchSettings, place: str) -> None:
        if earlier != self.settings:
            raise CommandError(
                f"{printable(place)} has results of {_described(earlier)}, this run is of "
                f"{_described(self.settings)}: choose another --out, or start again with --anew"
            )


def open_manifest(place: str, settings: BatchSettings, *, shard: tuple[int, int], anew: bool) -> Manifest:
    """Opens the manifest of a destination for one shard (index and count)."""
    index, count = shard
    name = "manifest" if count == 1 else f"manifest-{index}-of-{count}"
    storage: ManifestFile = StoreManifestFile(place, name) if is_store_url(place) else LocalManifestFile(place, name)
    try:
        if anew:
            storage.clear()
        return Manifest(storage, settings, place=place)
    except BaseException:
        storage.close()
        raise


class LocalManifestFile:
    """`manifest.jsonl` in a folder, locked for as long as a run writes to it."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = (self._folder / f"{name}.jsonl").open("a+b")
        except OSError as error:
            raise CommandError(f"{printable(folder)} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CommandError(f"another run is writing to {printable(folder)}") from None
        self._drop_torn_line()

    def lines(self) -> Iterator[str]:
        for path in sorted(self._folder.glob("manifest*.jsonl")):
            yield from _whole_lines(path.read_bytes())

    def append(self, lines: Iterable[str]) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        # The operating system has the line before the next picture starts, so that a kill of this process loses none.
        self._file.flush()

    def clear(self) -> None:
        for path in self._folder.glob("manifest*.jsonl"):
            os.truncate(path, 0)

    def close(self) -> None:
        self._file.close()

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        if not data.endswith(b"\n"):
            self._file.truncate(data.rfind(b"\n") + 1)


class StoreManifestFile:
    """Numbered parts below `manifest/` in an object store, as a store cannot append."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._store = url, open_store(url)
        # Two runs never write to the same part.
        self._prefix = f"manifest/{name}-{time.time_ns():020d}-{uuid4().hex[:8]}"
        self._pending: list[str] = []
        self._parts, self._written_at = 0, time.monotonic()

    def lines(self) -> Iterator[str]:
        for path in self._paths():
            yield from _whole_lines(bytes(obstore.get(self._store, path).bytes()))

    def append(self, lines: Iterable[str]) -> None:
        self._pending += lines
        if len(self._pending) >= PART_LINES or time.monotonic() - self._written_at >= PART_S:
            self._write_part()

    def clear(self) -> None:
        for path in self._paths():
            obstore.delete(self._store, path)

    def close(self) -> None:
        if self._pending:
            self._write_part()

    def _write_part(self) -> None:
        part = f"{self._prefix}-{self._parts:06d}.jsonl"
        try:
            obstore.put(self._store, part, "".join(f"{line}\n" for line in self._pending).encode())
        except STORE_ERRORS as error:
            reason = first_line(error)
            raise CommandError(f"the manifest in {printable(self._url)} cannot be written: {reason}") from None
        self._pending, self._written_at = [], time.monotonic()
        self._parts += 1

    def _paths(self) -> list[str]:
        """Returns the parts in the order in which they were written."""
        try:
            found = [about["path"] for chunk in obstore.list(self._store, "manifest") for about in chunk]
        except STORE_ERRORS as error:
            raise CommandError(f"{printable(self._url)} cannot be read: {first_line(error)}") from None
        return sorted(found, key=lambda path: path.rsplit("-", 3)[1:])  # time, run, part


def _whole_lines(data: bytes) -> Iterator[str]:
    yield from data[: data.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()


def _described(settings: BatchSettings) -> str:
    options = ", ".join(f"{name}={value}" for name, value in settings.options.items())
    return f"{settings.model} as {settings.media_type}{f' with {options}' if options else ''}"
