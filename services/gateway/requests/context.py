import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from services.gateway.auth.middleware import caller_of
from services.gateway.requests.body import RequestBody
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter, Permit
from sightline.http.request_headers import deadline_s, declared_bytes
from sightline.runtime.tasks import cancel_and_wait

JOB_HINT = " It would become a job if it told its length, or came with `Prefer: respond-async`."


class RequestContext:
    """One request while it is here: its permit, its body coming in, and who waits for the reply."""

    def __init__(
        self, settings: GatewaySettings, limiter: ConcurrencyLimiter, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.scope, self.headers = scope, Headers(scope=scope)
        self.outcome = "cancelled"
        self.started = False
        self.sent_bytes = 0
        self._settings, self._send = settings, send
        self.caller = caller_of(scope)
        self._permit = Permit(limiter, self.caller.share)
        self.body = RequestBody(receive, keep_bytes=settings.replay_bytes, reserve=self._make_room)
        self._arrived = time.monotonic()
        self._asked_s: float | None = None
        self._for_job = False
        self._timer: asyncio.Timeout | None = None

    @contextmanager
    def admitted(self) -> Iterator[None]:
        asked_s = deadline_s(self.headers)
        self._asked_s = None if asked_s is None else min(asked_s, self._settings.max_deadline_s)
        with self._permit.admit(0 if self._for_job else declared_bytes(self.headers)):
            yield

    def convert_to_job(self) -> None:
        """From now on the body goes to the disk: it takes no room here, may be larger, and has longer to come in."""
        if self._for_job:
            return
        self._for_job = True
        self._permit.waive()
        if self._timer is not None:
            due = None if self.body.complete else asyncio.get_running_loop().time() + self._upload_s()
            # It is refused where the time has just run out, or the client has just gone.
            with suppress(RuntimeError):
                self._timer.reschedule(due)

    async def serve(self, work: Coroutine[None, None, None]) -> None:
        """Drives the work while somebody waits for it.

        Raises Problem while no reply has begun; one that has begun and cannot be finished is left unfinished.
        """
        task, unwanted = asyncio.create_task(work), asyncio.create_task(self._wait_abandoned())
        try:
            await asyncio.wait((task, unwanted), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            elif not self.started:
                raise unwanted.result()
        finally:
            await cancel_and_wait(task, unwanted)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.outcome, self.started = str(message["status"]), True
        self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def left_s(self) -> float:
        """Until the reply is due: from arrival where the client named a time, else from the end of its upload.

        A slow link is no reason to give up, but a client that names a time means its own clock.
        """
        if self._asked_s is None:
            return self._settings.deadline_s
        return max(0.0, self._asked_s - (time.monotonic() - self._arrived))

    @property
    def longest_s(self) -> float:
        """How long it can last, from its first byte to its reply."""
        return self._settings.upload_timeout_s + self._settings.max_deadline_s

    async def _wait_abandoned(self) -> ClientDisconnect | Problem:
        """Returns once nobody waits for the reply any more, and why."""
        try:
            async with asyncio.timeout(self._upload_s()) as self._timer:
                await self.body.wait_complete()
            # What a job's client waits for is bounded where it is waited for, and is then answered with the job.
            async with asyncio.timeout(None if self._for_job else self.left_s()) as self._timer:
                await self.body.wait_disconnected()
        except TimeoutError:
            return _too_late(complete=self.body.complete, asked=self._asked_s is not None)
        return ClientDisconnect()

    def _upload_s(self) -> float:
        if self._for_job:
            return self._settings.job_upload_timeout_s
        return (
            min(self._settings.upload_timeout_s, self.left_s())
            if self._asked_s is not None
            else self._settings.upload_timeout_s
        )

    def _make_room(self, count: int) -> None:
        limit_bytes = self._settings.max_job_bytes if self._for_job else self._settings.max_bytes
        if self.body.size_bytes + count > limit_bytes:
            raise _too_large(limit_bytes, hint="" if self._for_job else JOB_HINT)
        self._permit.receive(count)


def _too_large(limit_bytes: int, *, hint: str) -> Problem:
    return Problem(
        Code.TOO_MANY_BYTES, f"The request is larger than {limit_bytes} bytes.{hint}", limit_bytes=limit_bytes
    )


def _too_late(*, complete: bool, asked: bool) -> Problem:
    """A slow upload is the client's affair, as long as it named no time of its own."""
    if complete:
        return Problem(Code.DEADLINE_EXCEEDED, "The request was not answered in the time that there was.")
    detail = "The request was not received in the time that there was for its upload."
    return Problem(Code.DEADLINE_EXCEEDED if asked else Code.REQUEST_TIMEOUT, detail)
