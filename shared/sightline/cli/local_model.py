"""A model in this process, which runs the same requests as a service without HTTP.

A separate module, because it imports the inference runtime, which commands that call a server do not need.
"""

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
    """A loaded predictor; runs requests on the calling thread, one sample at a time."""

    def __init__(self, name: str, settings: ServiceSettings) -> None:
        # A terminal does not need the service's log lines about providers.
        configure_logging("error", service="cli")
        self.predictor = load_predictor(name, settings)
        self._identity = self.predictor.weights.identity(self.predictor.declaration.name)
        self._session = open_session(self.predictor, settings)

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self._session.provider

    def answer(self, upload: Upload[Any], media_type: str) -> Rendered:
        request = InferenceRequest(upload, media_type, uuid4().hex, datetime.now(UTC))
        return run_inline(respond(self.predictor, request, self._session, self._identity), self._session)
