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
HELD_BYTES = 4 * BLOCK_BYTES  # blobs up to this size are sent out of memory
RETRY_AFTER_S = 10.0
LIMIT_S = 10.0  # of one call; whoever waits is told within this time that the store hangs
THREADS = 8
BLOBS, PROBES = "sha256", "probes"
PROBE_BYTES = 64 * 1024
PAGE = 500

T = TypeVar("T")

Reserve = Callable[[BlobRef], Awaitable[object]]
ResolveIdentity = Callable[[str | None], Awaitable[str | None]]


class BlobUpload(Protocol):
    """Bytes on their way in, which nobody sees until they are kept under a name."""

    def write(self, block: bytes) -> None: ...
    def commit(self, name: str) -> None: ...
    def abort(self) -> None: ...


class BlobBackend(Protocol):
    """Where blobs lie; every call blocks, and `blocks` of what is not there raises FileNotFoundError.

    Nothing is done in a store of another identity than the one claimed: it raises StoreMissingError.
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
    """Bytes by their SHA-256; raises STORAGE_UNAVAILABLE whenever the store does not do its part.

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
        # Of its own, so that a store that hangs holds up nothing else.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        start_threads(self._threads, THREADS)
        self._identity: str | None = None

    @classmethod
    def from_url(cls, url: str, *, resolve_identity: ResolveIdentity | None = None) -> Self:
        """`file:///folder` or `s3://bucket/prefix`."""
        scheme, host, path, _, _ = urlsplit(url)
        if scheme == "s3" and host:
            return cls(S3BlobStore.from_url(url), resolve_identity=resolve_identity)
        if scheme == "file" and not host and path not in ("", "/"):
            return cls(LocalBlobStore(Path(unquote(path))), resolve_identity=resolve_identity)
        raise ValueError("blobs are kept at file:///folder or s3://bucket/prefix")

    async def verify(self) -> None:
        """Raises STORAGE_UNAVAILABLE where the bytes are not in this store, as when a disk is not mounted."""
        calls = self._calls()
        found = await calls.do(self._backend.identity)
        wanted = await self._resolve_identity(found)
        if wanted is None:
            raise StoreMissing
        # A store that was there a moment ago may have been unmounted since: only an empty place becomes a new store.
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
        """Stores bytes as they come, holding about a MiB of them; what ends `chunks` early leaves nothing behind.

        `reserve` is awaited once the hash is known and before the bytes get its name: it must not return while
        somebody is about to delete what has that name now.
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
        """Like `stream`, but what is gone or damaged is told now, while a reply with another status can still be sent.

        Large blobs are read twice for that.
        """
        if ref.size_bytes <= HELD_BYTES:
            return _whole(await self.read(ref))
        async for _ in self.stream(ref):
            pass
        stream = self.stream(ref)
        return _resumed(await anext(stream, b""), stream)

    async def stream(self, ref: BlobRef) -> AsyncGenerator[bytes]:
        """Raises GONE when it is absent, and INTERNAL at the end when it is not what was stored: no wait mends it."""
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
        """Absent is deleted."""
        await (await self._verified_calls()).do(self._backend.delete, name_of(sha256))

    async def delete_abandoned(self, *, older_than_s: float) -> int:
        """Deletes what uploads left behind whose process died; returns how many."""
        calls = await self._verified_calls(limit_s=None)
        return await calls.do(lambda: self._backend.delete_abandoned(older_than_s=older_than_s))

    async def pages(self, *, older_than_s: float) -> AsyncGenerator[list[BlobRef]]:
        """All blobs that were put that long ago, some hundred at a time."""
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
            # A store that nothing is needed from any more may be replaced by an empty one.
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
    """Blocking calls, one after the other, each for at most `limit_s`; one that hangs is left, with its thread."""

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
            # A thread cannot be stopped, and what follows must not meet it at work.
            call.cancel()
            await asyncio.wait([waiting], timeout=self._limit_s)
            raise
        if not waiting.done():
            call.cancel()
            raise _unavailable()
        return _result_of(waiting)

    async def end(self, work: Callable[[], object]) -> None:
        """The last call, whatever became of those before: once the one that hangs has come back, if it ever does."""
        if self._last is not None and not self._last.done():
            self._last.add_done_callback(lambda _: self._threads.submit(work))
            return
        with suppress(Problem):
            await self.do(work)

    def undo_late(self, undo: Callable[[Any], object]) -> None:
        """Undoes what the last call still does, now that nobody waits for it."""

        def on_done(call: Future[Any]) -> None:
            if not call.cancelled() and call.exception() is None:
                self._threads.submit(undo, call.result())

        if self._last is not None:
            self._last.add_done_callback(on_done)

    def _start(self, work: Callable[..., T], *args: object) -> Future[T]:
        try:
            call = self._threads.submit(work, *args)
        except RuntimeError as error:  # no thread is to be had
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
    """Nobody may be there any more to be told of it."""
    if not waiting.cancelled():
        waiting.exception()


def _unavailable() -> Problem:
    detail = "The store of uploads and results is full or cannot be reached."
    return Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)


class BlobDamaged(Problem):
    """What is stored under a hash does not have it any more."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "Stored bytes are damaged.")


class StoreMissing(Problem):
    """The store in this place is not the one that has the bytes."""

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
    """The same bytes in pieces large enough to be worth a thread's while."""
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
    """Empty after the last."""
    try:
        return next(blocks, b"")
    except FileNotFoundError as error:
        raise Problem(Code.GONE, "The bytes are no longer stored.") from error
