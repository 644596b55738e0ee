import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from sightline.api.problems import Problem

WHOLE_BYTES = 256 * 1024  # larger bodies are written in pieces, so that the event loop turns in between


class RequestBody:
    """A request body on its way through: counted, hashed, and kept for as long as it is small.

    While it is kept, it can be sent to another replica from its first byte. `failure` holds what ended the body early,
    because the HTTP client that drains the body wraps whatever is raised in there.
    """

    def __init__(self, receive: Receive, *, keep_bytes: int, reserve: Callable[[int], None]) -> None:
        self.size_bytes = 0
        self.failure: ClientDisconnect | Problem | None = None
        self._receive, self._keep_bytes, self._reserve = receive, keep_bytes, reserve
        self._kept: list[bytes] | None = []
        self._sha256 = hashlib.sha256()
        self._complete = asyncio.Event()

    @property
    def complete(self) -> bool:
        return self._complete.is_set()

    @property
    def replayable(self) -> bool:
        return self._kept is not None

    @property
    def sha256(self) -> str | None:
        """Of the whole body, once all of it went by."""
        return self._sha256.hexdigest() if self.complete and self.size_bytes else None

    async def read(self) -> bytes:
        """The next bytes from the client; empty after the last."""
        if self.complete:
            return b""
        try:
            return self._take(await self._receive())
        except (ClientDisconnect, Problem) as error:
            self.failure = error
            raise

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """What is to be sent, from its first byte; only while it is replayable."""
        if self.complete and self.size_bytes <= WHOLE_BYTES:
            return b"".join(self._kept or ()) or None
        return self.stream()

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept or ()):
            yield chunk
        while not self.complete:
            chunk = await self.read()
            if self.size_bytes > self._keep_bytes:
                self._kept = None
            if chunk:
                yield chunk

    def forget(self) -> None:
        """Lets go of what is kept: the body has been put where it is needed."""
        self._kept = None

    async def wait_complete(self) -> None:
        await self._complete.wait()

    async def wait_disconnected(self) -> None:
        """Returns when the client has gone; only to be awaited once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _take(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._reserve(len(chunk))
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        if self._kept is not None:
            self._kept.append(chunk)
        if not message.get("more_body", False):
            self._complete.set()
        return chunk
