"""A model that a batch runs: in this process, or on a fleet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sightline.api.problems import Problem
from sightline.cli.arguments import validate_options
from sightline.cli.exit_codes import exit_code_of
from sightline.cli.models import load_declaration, require_runtime
from sightline.cli.output import CommandError
from sightline.cli.screening.clients import REFUSED, StopRequestedError, file_error
from sightline.cli.screening.journal import FileError
from sightline.cli.server_client import Notify, Pause, ServerClient
from sightline.client import SightlineError

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The body of a result, with the model's identity and the id of the request."""

    body: bytes
    model: str
    request_id: str | None


class PictureError(Exception):
    """One picture cannot be processed; the others can."""

    def __init__(self, error: FileError) -> None:
        super().__init__(error.detail)
        self.error = error


class BatchPredictor(Protocol):
    """Runs the model on one picture. Raises PictureError, or CommandError where every picture would fail."""

    @property
    def model(self) -> str: ...
    def predict(self, pictures: Mapping[str, bytes]) -> Prediction: ...


class LocalPredictor:
    """The model in this process; runs on the calling thread. options: by name, as text."""

    def __init__(self, name: str, media_type: str, options: Mapping[str, str], *, threads: int = 1) -> None:
        require_runtime()
        # The inference runtime takes a second to import, which a request to a server does not need.
        from sightline.cli.local_model import load_local_model
        from sightline.serving.settings import ServiceSettings

        self._local = load_local_model(name, ServiceSettings(intra_op_threads=threads))
        self._media_type = media_type
        self._options = validate_options(load_declaration(name).options, options)

    @property
    def model(self) -> str:
        predictor = self._local.predictor
        return str(predictor.weights.identity(predictor.declaration.name))

    @property
    def on_cpu(self) -> bool:
        return self._local.provider == CPU

    def predict(self, pictures: Mapping[str, bytes]) -> Prediction:
        from sightline.inference.predictor import Upload

        upload = Upload({name: [data] for name, data in pictures.items()}, self._options)
        try:
            return Prediction(self._local.answer(upload, self._media_type).body, self.model, None)
        except Problem as problem:
            raise PictureError(FileError(code=problem.code, detail=problem.detail)) from problem


class RemotePredictor:
    """A fleet over HTTP. Several threads may use it at once."""

    def __init__(
        self,
        url: str,
        name: str,
        media_type: str,
        options: Mapping[str, str],
        *,
        api_key: str | None,
        pause: Pause,
        notify: Notify,
    ) -> None:
        self._name, self._media_type, self._options = name, media_type, dict(options)
        self._server = ServerClient(url, api_key, pause=pause, notify=notify)

    def close(self) -> None:
        self._server.close()

    @property
    def model(self) -> str:
        """Name, version and digest of the weights. Raises CommandError if the address does not serve the model."""
        return self._server.model_identity(self._name)

    def predict(self, pictures: Mapping[str, bytes]) -> Prediction:
        jobs: list[Any] = []
        try:
            result = self._server.predict(
                self._name, pictures, self._options, accept=self._media_type, progress=jobs.append
            )
        except StopRequestedError:
            if jobs:
                self._cancel(jobs[-1].id)
            raise
        except SightlineError as error:
            # An error of one job concerns its picture; a fleet that is away or refuses the key concerns all.
            of_job = bool(jobs) and jobs[-1].is_final
            if not of_job and (error.is_temporary or isinstance(error, REFUSED)):
                raise CommandError(str(error), exit_code_of(error)) from error
            raise PictureError(file_error(error)) from error
        return Prediction(result.data, result.evidence.model or "", result.evidence.request_id)

    def _cancel(self, job_id: str) -> None:
        try:
            self._server.cancel(job_id)
        except SightlineError:
            return  # its result expires by itself
