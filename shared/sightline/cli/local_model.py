"""A model in this process: the same request as over HTTP, without a server."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sightline.cli.models import load_predictor
from sightline.http.logs import configure_logging
from sightline.inference.engine import open_session
from sightline.inference.executor import run_inline
from sightline.inference.pipeline import InferenceRequest, respond
from sightline.inference.predictor import Rendered, Upload
from sightline.serving.settings import ServiceSettings


class LocalModel:
    """Loads the predictor and its weights; answers on the calling thread, one sample at a time."""

    def __init__(self, name: str, settings: ServiceSettings) -> None:
        # What a service logs about its providers is noise in a terminal.
        configure_logging("error", service="cli")
        self.predictor = load_predictor(name, settings)
        self._identity = self.predictor.weights.identity(self.predictor.declaration.name)
        self._session = open_session(self.predictor, settings)

    @property
    def provider(self) -> str:
        """What really runs the model."""
        return self._session.provider

    def answer(self, upload: Upload[Any], media_type: str) -> Rendered:
        question = InferenceRequest(upload, media_type, uuid4().hex, datetime.now(UTC))
        return run_inline(respond(self.predictor, question, self._session, self._identity), self._session)
