"""The client for asynchronous programs."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

import httpx2

from sightline.client import operations, requests
from sightline.client.client import DEFAULT_CONCURRENCY, Outcome, outcome_of
from sightline.client.connection import DEFAULT_CONNECTIONS, Connection, is_short, reply_of
from sightline.client.errors import SightlineError, Unreachable
from sightline.client.operations import EventCursor, HttpRequest, Operation, Progress, RetryPolicy
from sightline.client.pictures import PictureInput, encode, opened
from sightline.client.requests import (
    HdrOptions,
    InpaintOptions,
    InteractionOptions,
    MaterialOptions,
    Prediction,
    ScreenOptions,
)
from sightline.client.results import (
    FileResult,
    HdrResult,
    HttpReply,
    InpaintResult,
    InteractionResult,
    JobEvent,
    JobStatus,
    MaterialResult,
    Screening,
)

T = TypeVar("T")
R = TypeVar("R")


class AsyncClient:
    """Client of a Sightline fleet for asyncio. Its methods and results are those of `Client`.

    url: base URL, also with a path prefix; by default SIGHTLINE_URL, else http://127.0.0.1:8080. api_key: by default
    SIGHTLINE_API_KEY. timeout_s: longest silence of the server; by default 300 s for results. retry_s: how long a
    request is repeated while the server is busy or away. on_retry: is called with each error that is retried, and with
    None when the server answers again. max_connections: number of requests at once; further ones wait.

    Raises ValueError for an invalid address or key. All other methods raise SightlineError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float | None = None,
        retry_s: float = 60.0,
        on_retry: Callable[[SightlineError | None], None] | None = None,
        max_connections: int = DEFAULT_CONNECTIONS,
    ) -> None:
        self._connection = Connection(url, api_key, timeout_s, max_connections)
        self._http = httpx2.AsyncClient(**self._connection.options)
        self._policy = RetryPolicy(retry_s, on_retry)

    @property
    def address(self) -> str:
        """The base URL, without a login."""
        return self._connection.address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    @overload
    async def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[InpaintOptions],
    ) -> InpaintResult: ...
    @overload
    async def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: Literal[False],
        **options: Unpack[InpaintOptions],
    ) -> "AsyncJob[InpaintResult]": ...
    async def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[InpaintOptions],
    ) -> "InpaintResult | AsyncJob[InpaintResult]":
        """Fills the holes of a photo: the white pixels of `mask`, `regions`, or the photo's transparent pixels."""
        holes = None if mask is None else await _encoded(mask)
        return await self._predict(requests.inpaint(await _encoded(image), holes, options), wait, progress)

    @overload
    async def hdr_correct(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[HdrOptions],
    ) -> HdrResult: ...
    @overload
    async def hdr_correct(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[HdrOptions]
    ) -> "AsyncJob[HdrResult]": ...
    async def hdr_correct(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[HdrOptions],
    ) -> "HdrResult | AsyncJob[HdrResult]":
        """Recovers detail in a badly exposed photo."""
        return await self._predict(requests.hdr_correct(await _encoded(image), options), wait, progress)

    @overload
    async def screen(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[ScreenOptions],
    ) -> Screening: ...
    @overload
    async def screen(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[ScreenOptions]
    ) -> "AsyncJob[Screening]": ...
    async def screen(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[ScreenOptions],
    ) -> "Screening | AsyncJob[Screening]":
        """Screens a photo for eight kinds of human-rights violation; the decision may be `abstain`."""
        return await self._predict(requests.screen(await _encoded(image), options), wait, progress)

    @overload
    async def interactions(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[InteractionOptions],
    ) -> InteractionResult: ...
    @overload
    async def interactions(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[InteractionOptions]
    ) -> "AsyncJob[InteractionResult]": ...
    async def interactions(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[InteractionOptions],
    ) -> "InteractionResult | AsyncJob[InteractionResult]":
        """Detects people, objects and interactions: triplets of person, verb and object."""
        return await self._predict(requests.interactions(await _encoded(image), options), wait, progress)

    @overload
    async def material(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[MaterialOptions],
    ) -> MaterialResult: ...
    @overload
    async def material(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[MaterialOptions]
    ) -> "AsyncJob[MaterialResult]": ...
    async def material(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[MaterialOptions],
    ) -> "MaterialResult | AsyncJob[MaterialResult]":
        """Estimates the maps of a flat surface from one flash photo."""
        return await self._predict(requests.material(await _encoded(image), options), wait, progress)

    async def predict(
        self,
        model: str,
        pictures: Mapping[str, PictureInput] | Sequence[tuple[str, PictureInput]],
        options: Mapping[str, Any] | None = None,
        *,
        accept: str,
        progress: Progress | None = None,
    ) -> FileResult:
        """Runs any model and returns the representation of the media type `accept`, such as an overlay or a GLB file.

        pictures: by form field; a sequence of pairs repeats a field.
        """
        named = pictures.items() if isinstance(pictures, Mapping) else pictures
        fields = [(name, await _encoded(picture)) for name, picture in named]
        return await self._run(
            operations.predict(requests.predict(model, fields, options or {}, accept), self._policy, progress)
        )

    async def map(
        self, call: Callable[[T], Awaitable[R]], pictures: Iterable[T], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> AsyncIterator[Outcome[T, R]]:
        """Yields the outcomes of `call`, such as `client.screen`, for many pictures, in the order in which they end.

        At most `concurrency` run at once, and `pictures` is read as they start. A picture's error does not end the
        others. Leaving the loop early cancels those that run.
        """
        remaining = iter(pictures)
        running: dict[asyncio.Task[R], T] = {}
        try:
            while True:
                for picture in islice(remaining, concurrency - len(running)):
                    running[asyncio.create_task(_awaited(call(picture)))] = picture
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield outcome_of(running.pop(task), task)
        finally:
            for task in running:
                task.cancel()

    async def models(self) -> list[dict[str, Any]]:
        """Returns the server's models: names, titles, versions and readiness."""
        reply = await self._run(operations.get("/v1/models", self._policy))
        return list(reply.json()["models"])

    async def model_card(self, model: str) -> dict[str, Any]:
        """Returns the card of a model: its description, limits, figures and weights."""
        reply = await self._run(operations.get(f"/v1/models/{model}/card", self._policy))
        return dict(reply.json())

    async def job(self, job_id: str) -> JobStatus:
        """Returns the state of a job."""
        return await self._run(operations.job_status(job_id, self._policy))

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancels a job in any state, and deletes its request and result."""
        return await self._run(operations.cancel(job_id, self._policy))

    async def events(self, job_id: str) -> AsyncIterator[JobEvent]:
        """Yields the events of a job up to its end; continues where a broken connection ended."""
        cursor = EventCursor(self._policy)
        while True:
            pause_s = operations.FIRST_PAUSE_S
            try:
                async for event in self._event_stream(job_id, cursor.last_id):
                    is_last = cursor.advance(event)
                    yield event
                    if is_last:
                        return
            except Unreachable as error:
                pause_s = cursor.pause_s(error)
            else:
                if cursor.is_complete(await self.job(job_id)):
                    return
            await asyncio.sleep(pause_s)

    async def _event_stream(self, job_id: str, last_id: str) -> AsyncIterator[JobEvent]:
        request = operations.events_request(job_id, last_id)
        with self._connection.errors():
            async with self._http.stream(**self._connection.arguments(request, [])) as response:
                if response.status_code != httpx2.codes.OK:
                    await response.aread()
                    operations.require_stream(reply_of(response))
                    return
                async for event in httpx2.EventSource(response):
                    if event.data:
                        yield operations.job_event(event.id, event.event, event.data)

    async def _predict(self, prediction: Prediction[R], wait: bool, progress: Progress | None) -> "R | AsyncJob[R]":
        if wait:
            return await self._run(operations.predict(prediction, self._policy, progress))
        job = await self._run(operations.submit(prediction, self._policy))
        return AsyncJob(self, job.id, prediction)

    async def _run(self, operation: Operation[R]) -> R:
        """Performs an operation's requests and pauses; returns its result."""
        answer: HttpReply | None = None
        error: Unreachable | None = None
        while True:
            try:
                step = operation.throw(error) if error else operation.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = error = None
            if not isinstance(step, HttpRequest):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = await self._send(step)
            except Unreachable as unreachable:
                error = unreachable

    async def _send(self, request: HttpRequest) -> HttpReply:
        with opened(list(request.pictures)) as pictures, self._connection.errors():
            sent = self._http.build_request(**self._connection.arguments(request, pictures))
            if is_short(sent):
                await sent.aread()
            return reply_of(await self._http.send(sent))


class AsyncJob(Generic[R]):
    """A job of the fleet, whose result has the type `R`."""

    def __init__(self, client: AsyncClient, job_id: str, prediction: Prediction[R]) -> None:
        self._client, self.id, self._prediction = client, job_id, prediction

    async def status(self) -> JobStatus:
        """Returns the present state."""
        return await self._client.job(self.id)

    async def result(self, progress: Progress | None = None) -> R:
        """Waits for the end and returns the result; raises the error that ended the job."""
        return await self._client._run(operations.result(self.id, self._prediction, self._client._policy, progress))

    def events(self) -> AsyncIterator[JobEvent]:
        """Yields the events up to the job's end."""
        return self._client.events(self.id)

    async def cancel(self) -> JobStatus:
        """Cancels the job in any state, and deletes its request and result."""
        return await self._client.cancel(self.id)

    def __repr__(self) -> str:
        return f"AsyncJob({self.id})"


async def _encoded(picture: PictureInput) -> PictureInput:
    """Encodes arrays and images in a thread; the event loop would stand still for a second with 12 megapixels."""
    if isinstance(picture, (str, os.PathLike, bytes)):
        return picture
    return await asyncio.to_thread(encode, picture)


async def _awaited(call: Awaitable[R]) -> R:
    """Makes a coroutine of any awaitable, for a task."""
    return await call
