"""The service of the tiny model, whose session hangs on some pictures: `tests.serving.hanging_service:create`.

The folder named by `HANGING_FOLDER` has `tiny.onnx` and its contract. The session hangs on a sample with the value
`HANGS_ONCE` in it if the folder has no file `hung`, which it makes, and on one with `HANGS_ALWAYS` each time.
"""

import os
import threading
from pathlib import Path

from fastapi import FastAPI

from sightline.inference.engine import OnnxEngine, Session
from sightline.inference.signature import ModelSignature, Tensors
from sightline.inference.weights import load_weights
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings
from tests.tiny_service import InvertingPredictor

HANGS_ONCE, HANGS_ALWAYS = 71, 72


class HangingSession:
    """Another session, of which a run blocks for good, as a driver's call does."""

    def __init__(self, inner: Session, folder: Path) -> None:
        self._inner, self._hung = inner, folder / "hung"
        self.provider, self.precision, self.max_batch = inner.provider, inner.precision, inner.max_batch

    def run(self, batch: Tensors) -> Tensors:
        once, always = ((batch["image"] == value).any() for value in (HANGS_ONCE, HANGS_ALWAYS))
        if always or (once and not self._hung.exists()):
            self._hung.touch()
            threading.Event().wait()
        return self._inner.run(batch)


class HangingPredictor(InvertingPredictor):
    def open_session(self, signature: ModelSignature, settings: ServiceSettings) -> Session:
        return HangingSession(OnnxEngine(self.weights, signature, settings), Path(os.environ["HANGING_FOLDER"]))


def create() -> FastAPI:
    folder = Path(os.environ["HANGING_FOLDER"])
    weights = load_weights(folder / "tiny.onnx", folder / "tiny.toml", shipped=True)
    return create_app(HangingPredictor(weights, step_s=0.0), ServiceSettings())
