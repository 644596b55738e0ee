"""Who is asked about the pictures: a model in this process, or a server."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from pydantic import ValidationError

from sightline.api.problems import Problem
from sightline.cli.faults import Fault
from sightline.cli.interruption import StopRequest
from sightline.cli.models import require_runtime
from sightline.cli.remote import (
    JobStatus,
    Notify,
    NotSightlineError,
    Patience,
    Pause,
    RemoteError,
    Result,
    Server,
    UnreachableError,
    finished_result,
    follow_job,
)
from sightline.cli.screening.finding import Answer, Reply, Trouble

MODEL = "hra_screening"
JSON = "application/json"
CPU = "CPUExecutionProvider"
REFUSED = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND))
GO_ON = "run the same command again to continue"


class Stopped(Exception):
    """The run was asked to stop while a server was being waited for."""


class JobFailedError(RemoteError):
    """The job ended without a result: it was given up, cancelled, or its pictures are at fault."""


class Asker(Protocol):
    """Answers in the order of the pictures; a picture at fault has its problem in its place."""

    @property
    def model(self) -> str: ...
    def ask(self, pictures: Sequence[bytes]) -> Reply: ...


class Here:
    """The model in this process, on the calling thread."""

    def __init__(self, threshold: float | None) -> None:
        require_runtime()
        # The inference runtime takes a second to import, which a request to a server does not need.
        from sightline.cli.local import LocalModel
        from sightline.inference.predictor import Upload
        from sightline.serving.settings import ServiceSettings

        settings = ServiceSettings(intra_op_threads=1)
        self._local, self._upload = LocalModel(MODEL, settings), Upload
        self._options = self._local.predictor.declaration.options.model_validate({"threshold": threshold})

    def ask(self, pictures: Sequence[bytes]) -> Reply:
        try:
            body = self._local.answer(self._upload({"image": pictures}, self._options), JSON).body
        except Problem as problem:
            if len(pictures) > 1:
                raise
            return self._refused(problem)
        return parse(body)

    @property
    def model(self) -> str:
        return str(self._local.predictor.weights.identity(MODEL))

    @property
    def on_cpu(self) -> bool:
        return self._local.provider == CPU

    def _refused(self, problem: Problem) -> Reply:
        trouble = Trouble(code=problem.code, detail=problem.detail)
        return Reply(results=[Answer(problem=trouble)], model=self.model)


class There:
    """A gateway or service at an address, over HTTP. May be used by several threads at once."""

    def __init__(self, url: str, threshold: float | None, api_key: str | None, pause: Pause, notify: Notify) -> None:
        self._server = Server(url, api_key)
        self._options = {} if threshold is None else {"threshold": repr(threshold)}
        self._patience = Patience(pause, notify)

    def close(self) -> None:
        self._server.close()

    @property
    def model(self) -> str:
        """Fault within seconds where there is no screening at the address; a fleet that starts is waited for."""
        card = self._patience.call(self._get_card).body
        try:
            return named(json.loads(card)["weights"])
        except (ValueError, KeyError, TypeError):
            raise Fault(
                f"What answers at {self._server.address} is not Sightline: its reply is not a model card"
            ) from None

    def ask(self, pictures: Sequence[bytes]) -> Reply:
        """A batch that is refused as a whole is asked about picture by picture."""
        try:
            return parse(self._result(pictures).body)
        except RemoteError as error:
            if ends_the_run(error):
                raise Fault(f"{error}; {GO_ON}") from error
            if len(pictures) > 1:
                return joined([self.ask([picture]) for picture in pictures])
            return Reply(results=[Answer(problem=trouble_of(error))], model="")

    def _get_card(self) -> Result:
        try:
            return self._server.model_card(MODEL)
        except (UnreachableError, NotSightlineError) as error:
            # At first this is a wrong address and no outage to wait for.
            raise Fault(str(error)) from error

    def _result(self, pictures: Sequence[bytes]) -> Result:
        files = [("image", picture) for picture in pictures]
        reply = self._patience.call(lambda: self._server.predict(MODEL, files, self._options, accept=JSON))
        return self._job_result(reply) if isinstance(reply, JobStatus) else reply

    def _job_result(self, job: JobStatus) -> Result:
        """Large pictures become jobs, however long these wait in the queue."""
        try:
            *_, job = follow_job(self._server, job, self._patience)
            return finished_result(self._server, job, self._patience, accept=JSON)
        except Stopped:
            self._cancel(job)
            raise
        except RemoteError as error:
            if error.is_temporary and not job.is_final:
                raise
            raise JobFailedError(error.detail, status=error.status, code=error.code) from error

    def _cancel(self, job: JobStatus) -> None:
        try:
            self._server.cancel(job.id)
        except RemoteError:
            return  # its result expires by itself


def stoppable_pause(stop: StopRequest) -> Pause:
    """Raises Stopped as soon as the run is asked to stop."""

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    return pause


def ends_the_run(error: RemoteError) -> bool:
    """Whether other pictures would not fare better."""
    if isinstance(error, JobFailedError):
        return False
    return (
        error.is_temporary or error.status in REFUSED or error.status is None or error.status < HTTPStatus.BAD_REQUEST
    )


def trouble_of(error: RemoteError) -> Trouble:
    return Trouble(code=error.code or f"http_{error.status}", detail=error.detail)


def parse(body: bytes) -> Reply:
    """Fault where it is no record of screening, as when the address is of something else."""
    try:
        record = json.loads(body)
        return Reply.model_validate({"results": record["results"], "model": named(record["evidence"]["model"])})
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise Fault(f"the reply is not a screening record: {error}") from error


def named(identity: Mapping[str, str]) -> str:
    """As `X-Sightline-Model` names it."""
    return f"{identity['name']}@{identity['version']}+{identity['weights_sha256'][:12]}"


def joined(replies: Sequence[Reply]) -> Reply:
    model = next((reply.model for reply in replies if reply.model), "")
    return Reply(results=[each for reply in replies for each in reply.results], model=model)
