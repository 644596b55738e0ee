"""A model in this process, which runs the same requests as a service without HTTP."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sightline.api.media_types import JSON
from sightline.inference.engine import open_session
from sightline.inference.executor import run_inline
from sightline.inference.pipeline import InferenceRequest, respond, respond_in_all_types
from sightline.inference.predictor import AnyPredictor, Rendered, Upload
from sightline.inference.seal import Seal
from sightline.inference.settings import InferenceSettings
from sightline.inference.stages import Stages


class LocalModel:
    """A loaded predictor; runs requests on the calling thread, one sample at a time."""

    def __init__(self, predictor: AnyPredictor, settings: InferenceSettings) -> None:
        self.predictor = predictor
        self._identity = predictor.weights.identity(predictor.declaration.name)
        self._session, self._seal = open_session(predictor, settings), Seal.of(settings)

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self._session.provider

    def answer(self, upload: Upload[Any], media_type: str) -> Rendered:
        """Runs one request. Raises Problem where the service would reply with problem details."""
        plan = respond(self.predictor, _request(upload, media_type), self._session, self._identity, self._seal)
        return run_inline(plan, self._session)

    def answer_with_record(self, upload: Upload[Any], media_type: str) -> tuple[Rendered, ...]:
        """Runs one request; returns the result in the type, and as JSON where the model has such a record."""
        plan = respond_in_all_types(
            self.predictor,
            _request(upload, media_type),
            self._session,
            self._identity,
            others=(JSON,),
            stages=Stages(),
            seal=self._seal,
        )
        return run_inline(plan, self._session)


def _request(upload: Upload[Any], media_type: str) -> InferenceRequest:
    return InferenceRequest(upload, media_type, uuid4().hex, datetime.now(UTC))
