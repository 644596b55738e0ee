"""Models as they are served, in this process or by a running fleet, so that evaluations measure both alike."""

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, cast

import cv2
import httpx2

from sightline.api.declaration import route_of
from sightline.inference.local_model import LocalModel
from sightline.inference.predictor import AnyPredictor, Upload
from sightline.inference.settings import InferenceSettings
from sightline.jobs.job import JobState
from sightline.training.photos import Picture

TIMEOUT_S = 120.0
POLL_S = 0.5

Files = Mapping[str, bytes]
"""Encoded pictures of one request by form field."""


class ServedModel(Protocol):
    """One model behind its wire format: files and options of a request in, the body of the reply out."""

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes: ...


class LocalServedModel:
    """The model's service without HTTP: the same predictor, decoding and encoding, in this process."""

    def __init__(self, model: str, weights: Path | None = None) -> None:
        settings = InferenceSettings(weights=weights) if weights else InferenceSettings()
        # Loaded by name, because the library must not import services.
        module = importlib.import_module(f"services.{model}.predictor")
        self._local = LocalModel(cast(AnyPredictor, module.create(settings)), settings)

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes:
        chosen = self._local.predictor.declaration.options.model_validate(options)
        upload = Upload({field: [data] for field, data in files.items()}, chosen)
        return self._local.answer(upload, media_type).body


class RemoteServedModel:
    """The model of a fleet or service. Raises httpx2.HTTPError where a request fails."""

    def __init__(self, model: str, client: httpx2.Client) -> None:
        self._client, self._route = client, route_of(model)

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes:
        accept = {"Accept": media_type}
        reply = self._client.post(self._route, files=dict(files), data=options, headers=accept).raise_for_status()
        if reply.status_code == HTTPStatus.ACCEPTED:
            reply = self._job_result(reply.json()["id"], accept)
        return reply.content

    def _job_result(self, job: str, accept: Mapping[str, str]) -> httpx2.Response:
        """Waits for the job that a large picture became, and returns the reply with its result."""
        while not JobState(self._client.get(f"/v1/jobs/{job}").raise_for_status().json()["state"]).terminal:
            time.sleep(POLL_S)
        return self._client.get(f"/v1/jobs/{job}/result", headers=accept).raise_for_status()


@contextmanager
def open_served_model(model: str, url: str | None, weights: Path | None = None) -> Iterator[ServedModel]:
    """Opens the model of the fleet at a base URL, with the API key of SIGHTLINE_API_KEY.

    Without a URL, opens the model in this process, with the given weights.
    """
    if url is None:
        yield LocalServedModel(model, weights)
        return
    key = os.environ.get("SIGHTLINE_API_KEY")
    headers = {"X-Api-Key": key} if key else {}
    with httpx2.Client(base_url=url, timeout=TIMEOUT_S, headers=headers) as client:
        yield RemoteServedModel(model, client)


def encode_png(pixels: Picture) -> bytes:
    """A lossless file of a picture (h, w, 3) in RGB, or (h, w)."""
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
