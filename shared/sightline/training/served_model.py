"""Models as they are served, in this process or by a running fleet, so that evaluations measure both alike."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

import cv2

from sightline.client import Client
from sightline.inference.local_model import LocalModel
from sightline.inference.predictor import AnyPredictor, Upload
from sightline.inference.settings import InferenceSettings
from sightline.runtime.deployables import import_service
from sightline.training.photos import Picture

TIMEOUT_S = 120.0

Files = Mapping[str, bytes]
"""Encoded pictures of one request by form field."""


class ServedModel(Protocol):
    """One model behind its wire format: files and options of a request in, the body of the reply out."""

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes: ...


class LocalServedModel:
    """The model's service without HTTP: the same predictor, decoding and encoding, in this process."""

    def __init__(self, model: str, weights: Path | None = None) -> None:
        settings = InferenceSettings(weights=weights) if weights else InferenceSettings()
        predictor = import_service(f"{model}.predictor").create(settings)
        self._local = LocalModel(cast(AnyPredictor, predictor), settings)

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes:
        chosen = self._local.predictor.declaration.options.model_validate(options)
        upload = Upload({field: [data] for field, data in files.items()}, chosen)
        return self._local.answer(upload, media_type).body


class RemoteServedModel:
    """The model of a fleet or service. Raises SightlineError where a request fails for good."""

    def __init__(self, model: str, client: Client) -> None:
        self._client, self._model = client, model

    def __call__(self, files: Files, media_type: str, **options: str) -> bytes:
        return self._client.predict(self._model, files, options, accept=media_type).data


@contextmanager
def open_served_model(model: str, url: str | None, weights: Path | None = None) -> Iterator[ServedModel]:
    """Opens the model of the fleet at a base URL, with the API key of SIGHTLINE_API_KEY.

    Without a URL, opens the model in this process, with the given weights.
    """
    if url is None:
        yield LocalServedModel(model, weights)
        return
    with Client(url, timeout_s=TIMEOUT_S) as client:
        yield RemoteServedModel(model, client)


def encode_png(pixels: Picture) -> bytes:
    """A lossless file of a picture (h, w, 3) in RGB, or (h, w)."""
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
