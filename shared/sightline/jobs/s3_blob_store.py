"""Blob storage in an S3-compatible bucket."""

from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import obstore
from obstore.store import S3Store

from sightline.jobs.local_blob_store import IDENTITY, StoreMissingError

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

BLOCK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
INCOMING = "incoming"


class S3BlobStore:
    """Blobs as objects of an S3-compatible store; endpoint and credentials come from the usual `AWS_...` variables.

    Only blocking calls of obstore are used: its asynchronous ones may return before their threads have released Python,
    which aborts a process that exits at that moment.
    """

    def __init__(self, store: "ObjectStore") -> None:
        self._store, self._identity = store, ""

    @classmethod
    def from_url(cls, url: str) -> Self:
        # The default is to retry for minutes; callers here need an error within seconds.
        retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
        # The endpoint is https by default; plain http is for a store on the services' own network.
        options: ClientConfig = {
            "connect_timeout": "5s",
            "read_timeout": "15s",
            "timeout": "300s",
            "allow_http": True,
        }
        return cls(S3Store.from_url(url, client_options=options, retry_config=retries))

    def identity(self) -> str | None:
        """Returns the identity of the store in the bucket, or None."""
        try:
            return bytes(obstore.get(self._store, IDENTITY).bytes()).decode().strip()
        except FileNotFoundError:
            return None

    def create(self, identity: str) -> None:
        """Turns an empty bucket into a store. Raises StoreMissingError if it has become another store."""
        if self.identity() is None:
            obstore.put(self._store, IDENTITY, identity.encode())
        self.attach(identity)

    def attach(self, identity: str) -> None:
        """Uses the store of this identity only. Raises StoreMissingError if it is missing."""
        self._identity = identity
        self.check_identity()

    def check_identity(self) -> None:
        """Raises StoreMissingError for another store or none."""
        if self.identity() != self._identity:
            raise StoreMissingError

    def open_upload(self) -> "S3BlobUpload":
        return S3BlobUpload(self._store)

    def blocks(self, name: str) -> Generator[bytes]:
        try:
            found = obstore.get(self._store, name)
        except FileNotFoundError:
            self.check_identity()
            raise
        for block in found.stream(BLOCK_BYTES):
            yield bytes(block)

    def list_blobs(self, folder: str, *, older_than_s: float) -> Generator[tuple[str, int]]:
        """Yields names and sizes in bytes of the blobs below a folder that are older than that."""
        limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        for page in obstore.list(self._store, folder):
            yield from ((entry["path"], entry["size"]) for entry in page if entry["last_modified"] <= limit)

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def delete_abandoned(self, *, older_than_s: float) -> int:
        """Deletes uploads whose writers died; returns their number."""
        limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        found = [entry for page in obstore.list(self._store, INCOMING) for entry in page]
        stale = [entry["path"] for entry in found if entry["last_modified"] < limit]
        for name in stale:
            self.delete(name)
        return len(stale)


class S3BlobUpload:
    """Bytes held in memory while they are few and then put under their name; larger ones are uploaded in parts."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store, self._name = store, f"{INCOMING}/{uuid4().hex}"
        self._held = bytearray()
        self._writer: WritableFile | None = None

    def write(self, block: bytes) -> None:
        if self._writer is None and len(self._held) + len(block) > PART_BYTES:
            self._writer = obstore.open_writer(self._store, self._name, buffer_size=PART_BYTES, max_concurrency=2)
            self._writer.write(bytes(self._held))
            self._held.clear()
        if self._writer is None:
            self._held += block
        else:
            self._writer.write(block)

    def commit(self, name: str) -> None:
        if self._writer is None:
            obstore.put(self._store, name, bytes(self._held))
        else:
            self._writer.close()
            obstore.rename(self._store, self._name, name)

    def abort(self) -> None:
        if self._writer is not None:
            # Parts of an incomplete upload stay in the bucket unseen, and cost money.
            self._writer.close()
            with suppress(FileNotFoundError):
                obstore.delete(self._store, self._name)
