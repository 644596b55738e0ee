"""The blob store: uploads and results by their SHA-256, in a local folder or an S3-compatible bucket."""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from obstore.exceptions import BaseError

from sightline.api.problems import Code, Problem
from sightline.jobs.job import BlobRef
from sightline.jobs.local_blob_store import LocalBlobStore, StoreMissingError
from sightline.jobs.s3_blob_store import S3BlobStore
from sightline.runtime.resources import start_threads

BLOCK_BYTES = 1024 * 1024
HELD_BYTES = 4 * BLOCK_BYTES  # blobs up to this size are sent from memory
RETRY_AFTER_S = 10.0
LIMIT_S = 10.0  # timeout of one call, after which a hanging store is reported
THREADS = 8
BLOBS, PROBES = "sha256", "probes"
PROBE_BYTES = 64 * 1024
PAGE = 500

T = TypeVar("T")

Reserve = Callable[[BlobRef], Awaitable[object]]
ResolveIdentity = Callable[[str | None], Awaitable[str | None]]


class BlobUpload(Protocol):
    """Bytes being written, which become visible when they are committed under a name."""

    def write(self, block: bytes) -> None: ...
    def commit(self, name: str) -> None: ...
    def abort(self) -> None: ...


class BlobBackend(Protocol):
    """Storage of blobs. Every call blocks; `blocks` raises FileNotFoundError for a missing blob.

    Calls raise StoreMissingError if the store does not have the identity that was passed to `attach`.
    """

    def identity(self) -> str | None: ...
    def create(self, identity: str) -> None: ...
    def attach(self, identity: str) -> None: ...
    def open_upload(self) -> BlobUpload: ...
    def blocks(self, name: str) -> Generator[bytes]: ...
    def delete(self, name: str) -> None: ...
    def list_blobs(self, folder: str, *, older_than_s: float) -> Generator[tuple[str, int]]: ...
    def delete_abandoned(self, *, older_than_s: float) -> int: ...


class BlobStore:
    """Stores bytes by their SHA-256; raises STORAGE_UNAVAILABLE if the store fails or hangs.

    `resolve_identity` takes the identity of the store that is there, None for an empty one. It returns the identity
    that the store must have, or None if the needed bytes are in another store.
    """

    def __init__(
        self, backend: BlobBackend, *, resolve_identity: ResolveIdentity | None = None, limit_s: float = LIMIT_S
    ) -> None:
        self._backend, self._resolve_identity, self._limit_s = (
            backend,
            resolve_identity or self._keep_first_identity,
            limit_s,
        )
        # Separate threads, so that a store that hangs blocks nothing else.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        start_threads(self._threads, THREADS)
        self._identity: str | None = None

    @classmethod
    def from_url(cls, url: str, *, resolve_identity: ResolveIdentity | None = None) -> Self:
        """Opens the store at `file:///folder` or `s3://bucket/prefix`."""
        scheme, host, path, _, _ = urlsplit(url)
        if scheme == "s3" and host:
            return cls(S3BlobStore.from_url(url), resolve_identity=resolve_identity)
        if scheme == "file" and not host and path not in ("", "/"):
            return cls(LocalBlobStore(Path(unquote(path))), resolve_identity=resolve_identity)
        raise ValueError("the blob store must be file:///folder or s3://bucket/prefix")

    async def verify(self) -> None:
        """Raises STORAGE_UNAVAILABLE if this is not the queue's store, such as when a disk is not mounted."""
        calls = self._calls()
        found = await calls.do(self._backend.identity)
        wanted = await self._resolve_identity(found)
        if wanted is None:
            raise StoreMissing
        # A known store may just have been unmounted, so only an empty place becomes a new store.
        await calls.do(self._backend.create if found is None else self._backend.attach, wanted)
        self._identity = wanted

    async def probe(self) -> None:
        """Writes and deletes a few bytes. Raises STORAGE_UNAVAILABLE."""
        await self.verify()
        calls, name = self._calls(), f"{PROBES}/{uuid4().hex}"
        upload = await self._open_upload_once(calls)
        try:
            await calls.do(upload.write, bytes(PROBE_BYTES))
            await calls.do(upload.commit, name)
        except BaseException:
            await calls.end(upload.abort)
            raise
        await calls.do(self._backend.delete, name)

    async def put(self, chunks: AsyncIterable[bytes] | bytes, *, reserve: Reserve | None = None) -> BlobRef:
        """Stores bytes as they arrive, with about a MiB in memory; if `chunks` ends early, nothing is left behind.

        `reserve` is awaited when the hash is known and before the bytes get it as their name. It must not return while
        an older blob of that name is about to be deleted.
        """
        calls = await self._verified_calls()
        upload = await self._open_upload(calls)
        try:
            ref = await _fill(upload, chunks, calls)
            if reserve is not None:
                await reserve(ref)
            await calls.do(upload.commit, name_of(ref.sha256))
        except BaseException:
            await calls.end(upload.abort)
            raise
        return ref

    async def read(self, ref: BlobRef) -> bytes:
        return b"".join([block async for block in self.stream(ref)])

    async def open(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """Like `stream`, but raises for missing or damaged bytes now, while a reply can still get another status.

        Large blobs are therefore read twice.
        """
        if ref.size_bytes <= HELD_BYTES:
            return _whole(await self.read(ref))
        async for _ in self.stream(ref):
            pass
        stream = self.stream(ref)
        return _resumed(await anext(stream, b""), stream)

    async def stream(self, ref: BlobRef) -> AsyncGenerator[bytes]:
        """Yields the bytes. Raises GONE if they are missing, and INTERNAL at the end if they do not match the hash."""
        calls = await self._verified_calls()
        blocks, digest = self._backend.blocks(name_of(ref.sha256)), hashlib.sha256()
        try:
            while block := await calls.do(_next, blocks):
                digest.update(block)
                yield block
        finally:
            await calls.end(blocks.close)
        if digest.hexdigest() != ref.sha256:
            raise BlobDamaged

    async def delete(self, sha256: str) -> None:
        """Deletes a blob; a missing one counts as deleted."""
        await (await self._verified_calls()).do(self._backend.delete, name_of(sha256))

    async def delete_abandoned(self, *, older_than_s: float) -> int:
        """Deletes uploads whose process died; returns their number."""
        calls = await self._verified_calls(limit_s=None)
        return await calls.do(lambda: self._backend.delete_abandoned(older_than_s=older_than_s))

    async def pages(self, *, older_than_s: float) -> AsyncGenerator[list[BlobRef]]:
        """Yields all blobs that are older than that, some hundred at a time."""
        calls = await self._verified_calls(limit_s=None)
        names = self._backend.list_blobs(BLOBS, older_than_s=older_than_s)
        try:
            while page := await calls.do(lambda: list(islice(names, PAGE))):
                yield [BlobRef(sha256_of(name), size_bytes) for name, size_bytes in page]
        finally:
            await calls.end(names.close)

    async def _open_upload(self, calls: "_Calls") -> BlobUpload:
        try:
            return await self._open_upload_once(calls)
        except StoreMissing:
            # A store of which no bytes are needed may be replaced by an empty one.
            await self.verify()
            return await self._open_upload_once(calls)

    async def _open_upload_once(self, calls: "_Calls") -> BlobUpload:
        try:
            return await calls.do(self._backend.open_upload)
        except BaseException:
            calls.undo_late(lambda upload: upload.abort())
            raise

    async def _verified_calls(self, limit_s: float | None = math.inf) -> "_Calls":
        if self._identity is None:
            await self.verify()
        return self._calls(limit_s)

    async def _keep_first_identity(self, found: str | None) -> str | None:
        if self._identity is None:
            return found or uuid4().hex
        return self._identity if found == self._identity else None

    def _calls(self, limit_s: float | None = math.inf) -> "_Calls":
        return _Calls(self._threads, self._limit_s if limit_s == math.inf else limit_s)


class _Calls:
    """Sequence of blocking calls, each at most `limit_s` long; one that hangs is abandoned with its thread."""

    def __init__(self, threads: ThreadPoolExecutor, limit_s: float | None) -> None:
        self._threads, self._limit_s = threads, limit_s
        self._last: Future[Any] | None = None

    async def do(self, work: Callable[..., T], *args: object) -> T:
        call = self._start(work, *args)
        waiting = asyncio.wrap_future(call)
        waiting.add_done_callback(_retrieve)
        try:
            await asyncio.wait([waiting], timeout=self._limit_s)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and the next call must not run beside it.
            call.cancel()
            await asyncio.wait([waiting], timeout=self._limit_s)
            raise
        if not waiting.done():
            call.cancel()
            raise _unavailable()
        return _result_of(waiting)

    async def end(self, work: Callable[[], object]) -> None:
        """Runs the last call, if need be after a call that hangs has returned."""
        if self._last is not None and not self._last.done():
            self._last.add_done_callback(lambda _: self._threads.submit(work))
            return
        with suppress(Problem):
            await self.do(work)

    def undo_late(self, undo: Callable[[Any], object]) -> None:
        """Undoes the last call as soon as it returns, as its caller has left."""

        def on_done(call: Future[Any]) -> None:
            if not call.cancelled() and call.exception() is None:
                self._threads.submit(undo, call.result())

        if self._last is not None:
            self._last.add_done_callback(on_done)

    def _start(self, work: Callable[..., T], *args: object) -> Future[T]:
        try:
            call = self._threads.submit(work, *args)
        except RuntimeError as error:  # no thread can be started
            raise _unavailable() from error
        self._last = call
        return call


def _result_of(waiting: "asyncio.Future[T]") -> T:
    try:
        return waiting.result()
    except StoreMissingError as error:
        raise StoreMissing from error
    except (BaseError, OSError) as error:
        raise _unavailable() from error


def _retrieve(waiting: "asyncio.Future[Any]") -> None:
    """Marks the exception as retrieved, as the caller may have left."""
    if not waiting.cancelled():
        waiting.exception()


def _unavailable() -> Problem:
    detail = "The store of uploads and results is full or cannot be reached."
    return Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)


class BlobDamaged(Problem):
    """Stored bytes do not match their hash."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "Stored bytes are damaged.")


class StoreMissing(Problem):
    """The store in this place is not the one that has the queue's bytes."""

    def __init__(self) -> None:
        detail = "The store of uploads and results is not in its place; a disk may not be mounted."
        super().__init__(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)


async def _fill(upload: BlobUpload, chunks: AsyncIterable[bytes] | bytes, calls: _Calls) -> BlobRef:
    digest, size_bytes = hashlib.sha256(), 0
    async for block in _blocks(chunks):
        digest.update(block)
        size_bytes += len(block)
        await calls.do(upload.write, block)
    return BlobRef(digest.hexdigest(), size_bytes)


def name_of(sha256: str) -> str:
    return f"{BLOBS}/{sha256[:2]}/{sha256[2:]}"


def sha256_of(name: str) -> str:
    return "".join(name.rsplit("/", 2)[-2:])


async def _blocks(chunks: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    """Yields the same bytes in larger blocks, as each block is written in another thread."""
    if isinstance(chunks, bytes):
        for start in range(0, len(chunks), BLOCK_BYTES):
            yield chunks[start : start + BLOCK_BYTES]
        return
    held: list[bytes] = []
    held_bytes = 0
    async for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes >= BLOCK_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    yield b"".join(held)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


async def _resumed(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        if first:
            yield first
        async for block in rest:
            yield block


def _next(blocks: Generator[bytes]) -> bytes:
    """Returns the next block, empty after the last."""
    try:
        return next(blocks, b"")
    except FileNotFoundError as error:
        raise Problem(Code.GONE, "The bytes are no longer stored.") from error
