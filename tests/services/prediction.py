"""Predictions and ready services for the tests of every model."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import c2pa
import httpx2
import onnx
from pydantic import BaseModel

from sightline.inference.engine import open_session
from sightline.inference.executor import run_inline
from sightline.inference.pipeline import InferenceRequest, respond
from sightline.inference.predictor import AnyPredictor, Rendered, Upload
from sightline.inference.weights import Weights, load_weights
from sightline.serving.settings import ServiceSettings

Ask = Callable[..., Rendered]
PATIENCE_S = 20.0


def save_weights(folder: Path, model: onnx.ModelProto, contract: str) -> Weights:
    """The weights of a network made by a test, with its contract, as shipped weights."""
    path = folder / "made.onnx"
    onnx.save(model, path)
    path.with_suffix(".toml").write_text(contract)
    return load_weights(path, path.with_suffix(".toml"), shipped=True)


def make_ask(predictor: AnyPredictor, weights: Weights, settings: ServiceSettings, *, accept: str) -> Ask:
    """A function from photos and options to the reply, in the media type `accept` by default."""
    engine = open_session(predictor, settings)
    identity, usual = weights.identity(predictor.declaration.name), accept

    def ask(*images: bytes, accept: str = usual, **options: Any) -> Rendered:
        made: BaseModel = predictor.declaration.options(**options)
        question = InferenceRequest(Upload({"image": images}, made), accept, "request")
        return run_inline(respond(predictor, question, engine, identity), engine)

    return ask


def alterations_in(data: bytes, media_type: str) -> list[str]:
    """The alterations that the content credentials of a picture name, read by the public reader."""
    with c2pa.Reader(media_type, io.BytesIO(data)) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    assert manifest is not None
    actions = [each["data"]["actions"] for each in manifest["assertions"] if each["label"] == "c2pa.actions.v2"]
    parameters = [action.get("parameters", {}) for action in actions[0]]
    return [each["org.sightline.alteration"] for each in parameters if "org.sightline.alteration" in each]


@contextlib.contextmanager
def ready_client(url: str) -> Iterator[httpx2.Client]:
    """A client of a service that has just been started, once it is ready."""
    with httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        give_up_at = time.monotonic() + PATIENCE_S
        while client.get("/readyz").status_code != 200 and time.monotonic() < give_up_at:
            time.sleep(0.02)
        yield client
