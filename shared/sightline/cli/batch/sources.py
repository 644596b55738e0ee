"""Pictures of a folder or an object store, and the place where their results go."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from sightline.cli.output import CommandError, printable, printable_path, write_whole
from sightline.cli.screening.files import NO_SUFFIX, SUFFIXES, FileState, ListedFile, Listing, list_files

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

STORE_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https", "file")
MAX_FILE_BYTES = 256 << 20
RETRY_TIMEOUT = timedelta(seconds=120)
MASK_SUFFIX = ".png"
STORE_ERRORS = (BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A picture of a source.

    name: relative to the source with `/` between its parts, printable and unique; key: the same in the source's own
    spelling; version: changes when the content does, without reading it.
    """

    name: str
    key: str
    version: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shares of the pictures; index: 0 to count - 1."""

    index: int = 0
    count: int = 1

    @property
    def is_all(self) -> bool:
        return self.count == 1

    def holds(self, name: str) -> bool:
        """Returns whether a file is in this shard; it depends on the name alone, so that every process agrees."""
        return self.is_all or int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % self.count == self.index


class Source(Protocol):
    """A place with pictures; it can be sent to another process."""

    @property
    def remarks(self) -> list[str]:
        """Sentences on what the last listing left out."""
        ...

    def files(self) -> Iterator[SourceFile]:
        """Yields all pictures; raises CommandError if the place cannot be listed."""
        ...

    def read(self, key: str) -> bytes:
        """Returns the bytes of a file.

        Raises OSError if this file cannot be read, CommandError if no file can, such as while a store is away.
        """
        ...


class Destination(Protocol):
    """A place for results; a result is there whole or not at all. It can be sent to another process."""

    def write(self, key: str, data: bytes) -> None:
        """Raises CommandError if the place cannot be written."""
        ...


def is_store_url(place: str) -> bool:
    return place.partition("://")[0].lower() in STORE_SCHEMES and "://" in place


def open_source(place: str, *, every_file: bool, leaving_out: str) -> Source:
    """Opens a folder, or the URL of an object store such as `s3://bucket/prefix`."""
    if is_store_url(place):
        return StoreSource(place, every_file, leaving_out)
    folder = Path(place).absolute()  # actors on other machines have another working folder
    if not folder.is_dir():
        raise CommandError(f"there is no folder {printable(place)}; give a folder, or an address such as s3://bucket/a")
    return FolderSource(folder, every_file, Path(leaving_out).absolute())


def open_destination(place: str) -> Destination:
    return StoreDestination(place) if is_store_url(place) else FolderDestination(Path(place).absolute())


@dataclass
class FolderSource:
    """The pictures below a folder; links that lead out of it are not followed."""

    folder: Path
    every_file: bool
    leaving_out: Path

    def __post_init__(self) -> None:
        self.remarks: list[str] = []

    def files(self) -> Iterator[SourceFile]:
        listing = list_files(self.folder, leaving_out=self.leaving_out, every_file=self.every_file, follow_links=False)
        self.remarks = list(_remarks(listing))
        for file in listing.files:
            assert isinstance(file, ListedFile)
            try:
                about = file.stat()
            except OSError:
                continue  # deleted since it was listed
            key = os.fspath(file.path.relative_to(self.folder))
            version = f"{about.size_bytes}-{about.modified_ns}"
            yield SourceFile(file.name, key, version, about.size_bytes, about.modified_ns)

    def read(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()


def _remarks(listing: Listing) -> Iterator[str]:
    for folder in listing.unreadable_folders:
        yield f"The folder {folder.name} could not be read: {folder.reason}."
    if count := sum(listing.left_out.values()):
        yield f"Left out {count} files by their suffix; --every-file tries them."
    if listing.links_not_followed:
        yield f"Left out {listing.links_not_followed} links that lead out of the folder."


@dataclass
class StoreSource:
    """The pictures below a prefix of an object store."""

    url: str
    every_file: bool
    leaving_out: str

    def __post_init__(self) -> None:
        self.remarks: list[str] = []
        self.left_out: Counter[str] = Counter()
        self._store: ObjectStore | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_store": None}  # connections stay in their process

    def files(self) -> Iterator[SourceFile]:
        self.left_out, inner = Counter[str](), _inner_prefix(self.url, self.leaving_out)
        try:
            for chunk in obstore.list(self._opened()):
                for about in chunk:
                    path = about["path"]
                    if inner is not None and path.startswith(inner):
                        continue
                    if not self.every_file and PurePosixPath(path).suffix.lower() not in SUFFIXES:
                        self.left_out[PurePosixPath(path).suffix.lower() or NO_SUFFIX] += 1
                        continue
                    modified_ns = int(about["last_modified"].timestamp() * 1e9)
                    version = about["e_tag"] or f"{about['size']}-{modified_ns}"
                    yield SourceFile(printable_path(PurePosixPath(path)), path, version, about["size"], modified_ns)
        except STORE_ERRORS as error:
            raise CommandError(f"{printable(self.url)} cannot be listed: {first_line(error)}") from None
        if count := self.left_out.total():
            self.remarks = [f"Left out {count} files by their suffix; --every-file tries them."]

    def read(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._opened(), key).bytes())
        except FileNotFoundError:
            raise
        except STORE_ERRORS as error:
            raise CommandError(f"{printable(self.url)} cannot be read: {first_line(error)}") from error

    def _opened(self) -> "ObjectStore":
        if self._store is None:
            self._store = open_store(self.url)
        return self._store


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A picture of an object store that `screen` reads."""

    source: StoreSource
    file: SourceFile

    @property
    def name(self) -> str:
        return self.file.name

    def stat(self) -> FileState:
        return FileState(self.file.size_bytes, self.file.modified_ns)

    def read(self, max_bytes: int) -> tuple[FileState, bytes | None]:
        return self.stat(), self.read_bytes() if self.file.size_bytes <= max_bytes else None

    def read_bytes(self) -> bytes:
        return self.source.read(self.file.key)

    def link(self, report: Path) -> None:
        """Returns None: no browser opens the address of a store."""


def list_store(url: str, *, every_file: bool) -> Listing:
    """Lists the pictures of an object store for `screen`, in the order of their names."""
    source = StoreSource(url, every_file, "")
    files = sorted(source.files(), key=lambda file: file.name)
    return Listing([StoredFile(source, file) for file in files], left_out=source.left_out)


@dataclass
class FolderDestination:
    """A folder of results."""

    folder: Path

    def write(self, key: str, data: bytes) -> None:
        target = self.folder / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{printable(str(target.parent))} cannot be made: {error.strerror}") from None
        write_whole(target, data)


@dataclass
class StoreDestination:
    """A prefix of an object store."""

    url: str

    def __post_init__(self) -> None:
        self._store: ObjectStore | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"url": self.url, "_store": None}

    def write(self, key: str, data: bytes) -> None:
        try:
            if self._store is None:
                self._store = open_store(self.url, make=True)
            obstore.put(self._store, key, data)
        except STORE_ERRORS as error:
            raise CommandError(f"{printable(self.url)} cannot be written: {first_line(error)}") from None


def open_store(url: str, *, make: bool = False) -> "ObjectStore":
    """Opens an object store; endpoint and credentials come from the usual variables, such as `AWS_...`.

    make: creates the folder of a `file://` address. Raises CommandError for an address that no store understands.
    """
    retries: RetryConfig = {"max_retries": 20, "retry_timeout": RETRY_TIMEOUT}
    # Plain http is for a store on the own network, such as MinIO.
    options: ClientConfig = {"connect_timeout": "10s", "timeout": "300s", "allow_http": True}
    try:
        if url.startswith("file:"):
            return LocalStore.from_url(url, mkdir=make)
        return from_url(url, client_options=options, retry_config=retries)
    except STORE_ERRORS as error:
        raise CommandError(f"{printable(url)} is not the address of an object store: {first_line(error)}") from None


def read_mask(masks: Source, file: SourceFile) -> bytes:
    """Returns the mask of a photo: the file of the same name, or with the suffix `.png`; raises FileNotFoundError."""
    photo = PurePosixPath(file.key)
    names = (file.key, str(photo.with_suffix(MASK_SUFFIX)), f"{file.key}{MASK_SUFFIX}")
    for name in dict.fromkeys(names):
        try:
            return masks.read(name)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"there is no mask {' or '.join(printable(name) for name in dict.fromkeys(names))}")


def first_line(error: Exception) -> str:
    """Returns the first line of a library's message; obstore adds its source code's structures."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _inner_prefix(source: str, destination: str) -> str | None:
    """Returns the prefix of results that lie inside the source, so that a second run does not read them."""
    outer = source.rstrip("/") + "/"
    return destination.removeprefix(outer).rstrip("/") + "/" if destination.startswith(outer) else None
