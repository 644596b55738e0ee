"""Clients that screen pictures: with the model in this process, or on a server."""

import json
from collections.abc import Sequence
from typing import Protocol

from pydantic import ValidationError

from sightline.api.problems import Problem
from sightline.cli.exit_codes import exit_code_of
from sightline.cli.interruption import StopRequest
from sightline.cli.models import require_runtime
from sightline.cli.output import CommandError
from sightline.cli.screening.journal import BatchReply, FileError, PictureReply
from sightline.cli.server_client import Notify, Pause, ServerClient, model_name
from sightline.client import JobStatus, NotFound, NotSightline, SightlineError, Unauthorized

MODEL = "hra_screening"
JSON = "application/json"
CPU = "CPUExecutionProvider"
REFUSED = (Unauthorized, NotFound, NotSightline)
CONTINUE_HINT = "run the same command again to continue"


class StopRequestedError(Exception):
    """A stop was requested while waiting for a server."""


class ScreeningClient(Protocol):
    """Screens a batch. Results are in the order of the pictures; one that cannot be processed has its problem."""

    @property
    def model(self) -> str: ...
    def screen(self, pictures: Sequence[bytes]) -> BatchReply: ...


class LocalClient:
    """The model in this process; runs on the calling thread."""

    def __init__(self, threshold: float | None) -> None:
        require_runtime()
        # The inference runtime takes a second to import, which a request to a server does not need.
        from sightline.cli.local_model import load_local_model
        from sightline.inference.predictor import Upload
        from sightline.serving.settings import ServiceSettings

        settings = ServiceSettings(intra_op_threads=1)
        self._local, self._upload = load_local_model(MODEL, settings), Upload
        self._options = self._local.predictor.declaration.options.model_validate({"threshold": threshold})

    def screen(self, pictures: Sequence[bytes]) -> BatchReply:
        try:
            body = self._local.answer(self._upload({"image": pictures}, self._options), JSON).body
        except Problem as problem:
            if len(pictures) > 1:
                raise
            return self._refused(problem)
        return parse_reply(body)

    @property
    def model(self) -> str:
        return str(self._local.predictor.weights.identity(MODEL))

    @property
    def on_cpu(self) -> bool:
        return self._local.provider == CPU

    def _refused(self, problem: Problem) -> BatchReply:
        file_error = FileError(code=problem.code, detail=problem.detail)
        return BatchReply(results=[PictureReply(problem=file_error)], model=self.model)


class RemoteClient:
    """A gateway or service over HTTP. Several threads may use it at once."""

    def __init__(self, url: str, threshold: float | None, api_key: str | None, pause: Pause, notify: Notify) -> None:
        self._server = ServerClient(url, api_key, pause=pause, notify=notify)
        self._options = {} if threshold is None else {"threshold": repr(threshold)}

    def close(self) -> None:
        self._server.close()

    @property
    def model(self) -> str:
        """Name, version and digest of the weights; waits for a fleet that is starting.

        Raises CommandError within seconds if the address does not offer screening.
        """
        return self._server.model_identity(MODEL)

    def screen(self, pictures: Sequence[bytes]) -> BatchReply:
        """Screens a batch; if it is refused as a whole, screens its pictures one by one."""
        files = [("image", picture) for picture in pictures]
        jobs: list[JobStatus] = []
        try:
            result = self._server.predict(MODEL, files, self._options, accept=JSON, progress=jobs.append)
            return parse_reply(result.data)
        except StopRequestedError:
            if jobs:
                self._cancel(jobs[-1])
            raise
        except SightlineError as error:
            if ends_the_run(error, jobs[-1] if jobs else None):
                raise CommandError(f"{error}; {CONTINUE_HINT}", exit_code_of(error)) from error
            if len(pictures) > 1:
                return join_replies([self.screen([picture]) for picture in pictures])
            return BatchReply(results=[PictureReply(problem=file_error(error))], model="")

    def _cancel(self, job: JobStatus) -> None:
        try:
            self._server.cancel(job.id)
        except SightlineError:
            return  # its result expires by itself


def stoppable_pause(stop: StopRequest) -> Pause:
    """Returns a sleep function that raises StopRequestedError as soon as a stop is requested."""

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise StopRequestedError

    return pause


def ends_the_run(error: SightlineError, job: JobStatus | None) -> bool:
    """Returns whether the error would repeat for every other picture. An error of one `job` would not."""
    if job is not None:
        return error.is_temporary and not job.is_final
    return error.is_temporary or isinstance(error, REFUSED)


def file_error(error: SightlineError) -> FileError:
    return FileError(code=error.code or f"http_{error.status}", detail=error.detail)


def parse_reply(body: bytes) -> BatchReply:
    """Raises CommandError for a body that is not a screening record, such as one of another service."""
    try:
        record = json.loads(body)
        return BatchReply.model_validate(
            {"results": record["results"], "model": model_name(record["evidence"]["model"])}
        )
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CommandError(f"the reply is not a screening record: {error}") from error


def join_replies(replies: Sequence[BatchReply]) -> BatchReply:
    model = next((reply.model for reply in replies if reply.model), "")
    return BatchReply(results=[each for reply in replies for each in reply.results], model=model)
