"""The client for scripts: it blocks until a result is there. Threads may share it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

import httpx2

from sightline.client import operations, requests
from sightline.client.connection import DEFAULT_CONNECTIONS, Connection, is_short, reply_of
from sightline.client.errors import SightlineError, Unreachable
from sightline.client.operations import EventCursor, HttpRequest, Operation, Progress, RetryPolicy
from sightline.client.pictures import PictureInput, opened
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
DEFAULT_CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """The result of one picture of a batch, or its error; the other is None.

    error: a SightlineError, an OSError of a file that cannot be read, or a ValueError of an array that is no picture.
    """

    picture: T
    result: R | None = None
    error: SightlineError | OSError | ValueError | None = None


class Client:
    """Client of a Sightline fleet.

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
        self._http = httpx2.Client(**self._connection.options)
        self._policy = RetryPolicy(retry_s, on_retry)

    @property
    def address(self) -> str:
        """The base URL, without a login."""
        return self._connection.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @overload
    def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[InpaintOptions],
    ) -> InpaintResult: ...
    @overload
    def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: Literal[False],
        **options: Unpack[InpaintOptions],
    ) -> "Job[InpaintResult]": ...
    def inpaint(
        self,
        image: PictureInput,
        mask: PictureInput | None = None,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[InpaintOptions],
    ) -> "InpaintResult | Job[InpaintResult]":
        """Fills the holes of a photo: the white pixels of `mask`, `regions`, or the photo's transparent pixels."""
        return self._predict(requests.inpaint(image, mask, options), wait, progress)

    @overload
    def hdr_correct(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[HdrOptions],
    ) -> HdrResult: ...
    @overload
    def hdr_correct(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[HdrOptions]
    ) -> "Job[HdrResult]": ...
    def hdr_correct(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[HdrOptions],
    ) -> "HdrResult | Job[HdrResult]":
        """Recovers detail in a badly exposed photo."""
        return self._predict(requests.hdr_correct(image, options), wait, progress)

    @overload
    def screen(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[ScreenOptions],
    ) -> Screening: ...
    @overload
    def screen(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[ScreenOptions]
    ) -> "Job[Screening]": ...
    def screen(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[ScreenOptions],
    ) -> "Screening | Job[Screening]":
        """Screens a photo for eight kinds of human-rights violation; the decision may be `abstain`."""
        return self._predict(requests.screen(image, options), wait, progress)

    @overload
    def interactions(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[InteractionOptions],
    ) -> InteractionResult: ...
    @overload
    def interactions(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[InteractionOptions]
    ) -> "Job[InteractionResult]": ...
    def interactions(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[InteractionOptions],
    ) -> "InteractionResult | Job[InteractionResult]":
        """Detects people, objects and interactions: triplets of person, verb and object."""
        return self._predict(requests.interactions(image, options), wait, progress)

    @overload
    def material(
        self,
        image: PictureInput,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **options: Unpack[MaterialOptions],
    ) -> MaterialResult: ...
    @overload
    def material(
        self, image: PictureInput, *, wait: Literal[False], **options: Unpack[MaterialOptions]
    ) -> "Job[MaterialResult]": ...
    def material(
        self,
        image: PictureInput,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[MaterialOptions],
    ) -> "MaterialResult | Job[MaterialResult]":
        """Estimates the maps of a flat surface from one flash photo."""
        return self._predict(requests.material(image, options), wait, progress)

    def predict(
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
        fields = list(pictures.items()) if isinstance(pictures, Mapping) else list(pictures)
        return self._run(
            operations.predict(requests.predict(model, fields, options or {}, accept), self._policy, progress)
        )

    def map(
        self, call: Callable[[T], R], pictures: Iterable[T], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> Iterator[Outcome[T, R]]:
        """Yields the outcomes of `call`, such as `client.screen`, for many pictures, in the order in which they end.

        At most `concurrency` run at once, and `pictures` is read as they start. A picture's error does not end the
        others. Leaving the loop early waits for those that run.
        """
        remaining = iter(pictures)
        running: dict[Future[R], T] = {}
        with ThreadPoolExecutor(concurrency) as pool:
            while True:
                for picture in islice(remaining, concurrency - len(running)):
                    running[pool.submit(call, picture)] = picture
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield outcome_of(running.pop(future), future)

    def models(self) -> list[dict[str, Any]]:
        """Returns the server's models: names, titles, versions and readiness."""
        reply = self._run(operations.get("/v1/models", self._policy)).json()
        return list(reply["models"])

    def model_card(self, model: str) -> dict[str, Any]:
        """Returns the card of a model: its description, limits, figures and weights."""
        reply = self._run(operations.get(f"/v1/models/{model}/card", self._policy))
        return dict(reply.json())

    def job(self, job_id: str) -> JobStatus:
        """Returns the state of a job."""
        return self._run(operations.job_status(job_id, self._policy))

    def cancel(self, job_id: str) -> JobStatus:
        """Cancels a job in any state, and deletes its request and result."""
        return self._run(operations.cancel(job_id, self._policy))

    def events(self, job_id: str) -> Iterator[JobEvent]:
        """Yields the events of a job up to its end; continues where a broken connection ended."""
        cursor = EventCursor(self._policy)
        while True:
            pause_s = operations.FIRST_PAUSE_S
            try:
                for event in self._event_stream(job_id, cursor.last_id):
                    is_last = cursor.advance(event)
                    yield event
                    if is_last:
                        return
            except Unreachable as error:
                pause_s = cursor.pause_s(error)
            else:
                if cursor.is_complete(self.job(job_id)):
                    return
            self._pause(pause_s)

    def _event_stream(self, job_id: str, last_id: str) -> Iterator[JobEvent]:
        request = operations.events_request(job_id, last_id)
        arguments = self._connection.arguments(request, [])
        with self._connection.errors(), self._http.stream(**arguments) as response:
            if response.status_code != httpx2.codes.OK:
                response.read()
                operations.require_stream(reply_of(response))
                return
            for event in httpx2.EventSource(response):
                if event.data:
                    yield operations.job_event(event.id, event.event, event.data)

    def _predict(self, prediction: Prediction[R], wait: bool, progress: Progress | None) -> "R | Job[R]":
        if wait:
            return self._run(operations.predict(prediction, self._policy, progress))
        return Job(self, self._run(operations.submit(prediction, self._policy)).id, prediction)

    def _run(self, operation: Operation[R]) -> R:
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
                self._pause(step.seconds)
                continue
            try:
                answer = self._send(step)
            except Unreachable as unreachable:
                error = unreachable

    def _pause(self, seconds: float) -> None:
        """Waits; a subclass may raise an exception instead, which ends the operation."""
        time.sleep(seconds)

    def _send(self, request: HttpRequest) -> HttpReply:
        with opened(list(request.pictures)) as pictures, self._connection.errors():
            sent = self._http.build_request(**self._connection.arguments(request, pictures))
            if is_short(sent):
                sent.read()
            return reply_of(self._http.send(sent))


class Job(Generic[R]):
    """A job of the fleet, whose result has the type `R`."""

    def __init__(self, client: Client, job_id: str, prediction: Prediction[R]) -> None:
        self._client, self.id, self._prediction = client, job_id, prediction

    def status(self) -> JobStatus:
        """Returns the present state."""
        return self._client.job(self.id)

    def result(self, progress: Progress | None = None) -> R:
        """Waits for the end and returns the result; raises the error that ended the job."""
        return self._client._run(operations.result(self.id, self._prediction, self._client._policy, progress))

    def events(self) -> Iterator[JobEvent]:
        """Yields the events up to the job's end."""
        return self._client.events(self.id)

    def cancel(self) -> JobStatus:
        """Cancels the job in any state, and deletes its request and result."""
        return self._client.cancel(self.id)

    def __repr__(self) -> str:
        return f"Job({self.id})"


def outcome_of(picture: T, future: "Future[R] | asyncio.Task[R]") -> Outcome[T, R]:
    """Returns the outcome of a call that has ended. Errors that are no fault of a picture are raised."""
    try:
        return Outcome(picture, result=future.result())
    except (SightlineError, OSError, ValueError) as error:
        return Outcome(picture, error=error)
