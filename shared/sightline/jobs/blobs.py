import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError

from sightline.api.problems import Code, Problem
from sightline.jobs.bucket import Bucket
from sightline.jobs.folder import Folder
from sightline.jobs.job import BlobRef

BLOCK_BYTES = 1024 * 1024
RETRY_AFTER_S = 10.0
THREADS = 8

T = TypeVar("T")

Reserve = Callable[[BlobRef], Awaitable[object]]


class Draft(Protocol):
    """Bytes on their way in, which nobody sees until they are kept under a name."""

    def write(self, block: bytes) -> None: ...
    def keep(self, name: str) -> None: ...
    def discard(self) -> None: ...


class Backend(Protocol):
    """Where blobs lie; every call blocks, and `blocks` of what is not there raises FileNotFoundError."""

    def draft(self) -> Draft: ...
    def blocks(self, name: str) -> Generator[bytes]: ...
    def delete(self, name: str) -> None: ...
    def sweep(self, *, older_than_s: float) -> int: ...


class BlobStore:
    """Bytes by their SHA-256; raises STORAGE_UNAVAILABLE whenever the store does not do its part."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # Of its own, so that a store that hangs holds up nothing else.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`file:///folder` or `s3://bucket/prefix`."""
        scheme, host, path, _, _ = urlsplit(url)
        if scheme == "s3" and host:
            return cls(Bucket.from_url(url))
        if scheme == "file" and not host and path not in ("", "/"):
            return cls(Folder(Path(unquote(path))))
        raise ValueError("blobs are kept at file:///folder or s3://bucket/prefix")

    async def put(self, chunks: AsyncIterable[bytes] | bytes, *, reserve: Reserve | None = None) -> BlobRef:
        """Stores bytes as they come, holding about a MiB of them; what ends `chunks` early leaves nothing behind.

        `reserve` is awaited once the hash is known and before the bytes get its name: it must not return while
        somebody is about to delete what has that name now.
        """
        draft = await self._do(self._backend.draft)
        try:
            ref = await self._fill(draft, chunks)
            if reserve is not None:
                await reserve(ref)
            await self._do(draft.keep, name_of(ref.sha256))
        except BaseException:
            with suppress(Problem):
                await self._do(draft.discard)
            raise
        return ref

    async def read(self, ref: BlobRef) -> bytes:
        return b"".join([block async for block in self.stream(ref)])

    async def open(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """Like `stream`, but what is gone is told now, while a reply with another status can still be sent."""
        stream = self.stream(ref)
        return _resumed(await anext(stream, b""), stream)

    async def stream(self, ref: BlobRef) -> AsyncGenerator[bytes]:
        """Raises GONE when it is absent, and INTERNAL at the end when it is not what was stored: no wait mends it."""
        blocks, digest = self._backend.blocks(name_of(ref.sha256)), hashlib.sha256()
        try:
            while block := await self._do(_next, blocks):
                digest.update(block)
                yield block
        finally:
            await self._do(blocks.close)
        if digest.hexdigest() != ref.sha256:
            raise Problem(Code.INTERNAL, "Stored bytes are damaged.")

    async def delete(self, sha256: str) -> None:
        """Absent is deleted."""
        await self._do(self._backend.delete, name_of(sha256))

    async def sweep(self, *, older_than_s: float) -> int:
        """Deletes what uploads left behind whose process died; returns how many."""
        return await self._do(lambda: self._backend.sweep(older_than_s=older_than_s))

    async def _fill(self, draft: Draft, chunks: AsyncIterable[bytes] | bytes) -> BlobRef:
        digest, size_bytes = hashlib.sha256(), 0
        async for block in _blocks(chunks):
            digest.update(block)
            size_bytes += len(block)
            await self._do(draft.write, block)
        return BlobRef(digest.hexdigest(), size_bytes)

    async def _do(self, work: Callable[..., T], *args: object) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        try:
            return await asyncio.shield(future)
        except (BaseError, OSError) as error:
            detail = "The store of uploads and results is full or cannot be reached."
            raise Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S) from error
        except asyncio.CancelledError:
            # A thread cannot be stopped, and what follows must not meet it at work.
            await asyncio.wait([future])
            future.exception()
            raise


def name_of(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256[2:]}"


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
