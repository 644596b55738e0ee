"""The manifest of a batch, one line for each picture, from which a run that was killed continues."""

import fcntl
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Protocol, Self
from uuid import uuid4

import obstore
from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.cli.batch.sources import STORE_ERRORS, Shard, SourceFile, first_line, is_store_url, open_store
from sightline.cli.output import CommandError, printable
from sightline.cli.screening.journal import TRANSIENT, FileError

PARTS = "manifest.parts"
LOCAL_NAME = re.compile(r"manifest(-\d+-of-\d+)?\.jsonl")
PART_NAME = re.compile(rf"{re.escape(PARTS)}/manifest(-\d+-of-\d+)?-\d{{20}}-[0-9a-f]{{8}}-\d{{6}}\.jsonl")
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
    inference and writing together; recorded_at: seconds since 1970, by which the last of several lines is found.
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
    recorded_at: float = 0.0


class ManifestFile(Protocol):
    """Storage of manifest lines. `lines` yields those of all shards, complete lines only."""

    def lines(self) -> Iterator[str]: ...
    def append(self, lines: Iterable[str]) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


class RecordedState(NamedTuple):
    """The part of a manifest line that is kept in memory, for millions of pictures. error_code: None for a result."""

    version: str
    error_code: str | None
    recorded_at: float


class Manifest:
    """Results of earlier runs and of this one, of the pictures of one shard.

    Raises CommandError if earlier results have other settings.
    """

    def __init__(self, storage: ManifestFile, settings: BatchSettings, *, shard: Shard, place: str) -> None:
        self._storage, self.settings, self._shard = storage, settings, shard
        self.states: dict[str, RecordedState] = {}
        self._begun = False
        for line in storage.lines():
            self._read(line, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._storage.close()

    def add(self, entry: BatchEntry) -> None:
        """Records a picture; the time of its line is now."""
        entry = entry.model_copy(update={"recorded_at": round(time.time(), 6)})
        lines = [] if self._begun else [self.settings.model_dump_json()]
        self._begun = True
        self._keep(entry)
        self._storage.append([*lines, entry.model_dump_json(exclude_none=True)])

    def state_of(self, file: SourceFile) -> RecordedState | None:
        """Returns what is recorded of the file in its present version."""
        state = self.states.get(file.name)
        return state if state is not None and state.version == file.version else None

    def has_current(self, file: SourceFile, *, retry_failed: bool) -> bool:
        """Returns whether the file in its present version needs no further attempt."""
        state = self.state_of(file)
        if state is None:
            return False
        # A later attempt may not meet a transient error.
        return state.error_code is None or not (retry_failed or state.error_code in TRANSIENT)

    def _keep(self, entry: BatchEntry) -> None:
        if not self._shard.holds(entry.file):
            return
        earlier = self.states.get(entry.file)
        if earlier is None or entry.recorded_at >= earlier.recorded_at:
            code = entry.error.code if entry.error else None
            self.states[entry.file] = RecordedState(entry.version, code and sys.intern(code), entry.recorded_at)

    def _read(self, line: str, place: str) -> None:
        try:
            if line.startswith('{"model"'):
                self._require_same(BatchSettings.model_validate_json(line), place)
            else:
                self._keep(BatchEntry.model_validate_json(line))
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


def open_manifest(place: str, settings: BatchSettings, *, shard: Shard, anew: bool) -> Manifest:
    """Opens the manifest of a destination for one shard. anew: for the only shard, discards earlier manifests."""
    storage: ManifestFile = StoreManifestFile(place, shard) if is_store_url(place) else LocalManifestFile(place, shard)
    try:
        if anew:
            storage.clear()
        return Manifest(storage, settings, shard=shard, place=place)
    except BaseException:
        storage.close()
        raise


class LocalManifestFile:
    """`manifest.jsonl` in a folder; a shard has its own. No two runs process the same pictures at a time."""

    def __init__(self, folder: str, shard: Shard) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / ".manifest.lock").open("a+b")
            self._file: IO[bytes] = (self._folder / f"{_name(shard)}.jsonl").open("a+b")
        except OSError as error:
            raise CommandError(f"{printable(folder)} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX if shard.is_all else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise CommandError(f"another run is writing to {printable(folder)}") from None
        self._drop_torn_line()

    def lines(self) -> Iterator[str]:
        for path in self._paths():
            with path.open("rb") as file:
                yield from _whole_lines(file)

    def append(self, lines: Iterable[str]) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        # The operating system has the line before the next picture starts, so that a kill of this process loses none.
        self._file.flush()

    def clear(self) -> None:
        for path in self._paths():
            os.truncate(path, 0)

    def close(self) -> None:
        self._file.close()
        self._lock.close()

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("manifest*.jsonl") if LOCAL_NAME.fullmatch(path.name))

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        if not data.endswith(b"\n"):
            self._file.truncate(data.rfind(b"\n") + 1)


class StoreManifestFile:
    """Numbered parts below `manifest.parts/` in an object store, as a store cannot append."""

    def __init__(self, url: str, shard: Shard) -> None:
        self._url, self._store = url, open_store(url, make=True)
        # Two runs never write to the same part.
        self._prefix = f"{PARTS}/{_name(shard)}-{time.time_ns():020d}-{uuid4().hex[:8]}"
        self._pending: list[str] = []
        self._parts, self._written_at = 0, time.monotonic()

    def lines(self) -> Iterator[str]:
        for path in self._paths():
            yield from _whole_lines(bytes(obstore.get(self._store, path).bytes()).splitlines(keepends=True))

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
        try:
            found = [about["path"] for chunk in obstore.list(self._store, PARTS) for about in chunk]
        except STORE_ERRORS as error:
            raise CommandError(f"{printable(self._url)} cannot be read: {first_line(error)}") from None
        # Results of pictures in a folder of this name stand there too.
        return sorted(path for path in found if PART_NAME.fullmatch(path))


def _name(shard: Shard) -> str:
    return "manifest" if shard.is_all else f"manifest-{shard.index}-of-{shard.count}"


def _whole_lines(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in lines if line.endswith(b"\n"))


def _described(settings: BatchSettings) -> str:
    options = ", ".join(f"{name}={value}" for name, value in settings.options.items())
    return f"{settings.model} as {settings.media_type}{f' with {options}' if options else ''}"
