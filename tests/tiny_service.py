"""A small but real model: it inverts pictures, through an ONNX graph made here."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx2
import numpy as np
import onnx
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field

from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.problems import Code, Problem
from sightline.inference.predictor import AnyPredictor, Plan, Predictor, Rendered, Upload
from sightline.inference.settings import InferenceSettings, Provider
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights, load_weights
from sightline.serving.app import create_app, stop_process
from sightline.serving.settings import ServiceSettings

SIDES_PX = (8, 16)
POISON = 13  # a sample with this value in it makes the graph fail

CONTRACT = """
name = "tiny"
version = "1.2.3"
[inputs.image]
tensor = "image"
dtype = "uint8"
layout = "nhwc"
[outputs.inverted]
tensor = "inverted"
dtype = "float32"
layout = "nhwc"
"""

Pixels = NDArray[np.uint8]
MakePng = Callable[..., bytes]
MakeSettings = Callable[..., ServiceSettings]
MakeApp = Callable[..., FastAPI]
WaitReady = Callable[[str], None]


def inverting_graph() -> onnx.ModelProto:
    """inverted = 1 - image / 255, batched NHWC; a value of `POISON` gathers out of bounds and fails the run."""
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", "h", "w", 3])
    inverted = helper.make_tensor_value_info("inverted", TensorProto.FLOAT, ["b", "h", "w", 3])
    constants = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [-1 / 255]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("poison", TensorProto.UINT8, [], [POISON]),
        helper.make_tensor("zeros", TensorProto.FLOAT, [1], [0.0]),
    ]
    nodes = [
        helper.make_node("Equal", ["image", "poison"], ["is_poison"]),
        helper.make_node("Cast", ["is_poison"], ["poisoned"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["poisoned"], ["index"], keepdims=0),
        helper.make_node("Gather", ["zeros", "index"], ["nothing"]),
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["darkened"]),
        helper.make_node("Add", ["darkened", "one"], ["flipped"]),
        helper.make_node("Add", ["flipped", "nothing"], ["inverted"]),
    ]
    graph = helper.make_graph(nodes, "invert", [image], [inverted], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


class Options(BaseModel):
    times: Annotated[int, Field(ge=1, le=5, description="How often to invert")] = 1
    tags: list[str] = []


class Record(BaseModel):
    width: int
    height: int
    tags: list[str]
    evidence: Evidence


class InvertingPredictor(Predictor[Options, tuple[Pixels, Options], tuple[Pixels, Options]]):
    """Inverts pictures of up to 16x16 px; each inversion is a round of inference."""

    declaration = ModelDeclaration(
        name="tiny_invert",
        title="Inversion",
        description="Turns dark into bright.",
        pictures=(PictureField("image", "The picture"), PictureField("extra", "More", required=False)),
        options=Options,
        media_types=("image/png", "application/json"),
        record=Record,
    )
    signature = ModelSignature(
        inputs=(TensorSpec("image", "uint8", ("h", "w", 3), 0, 255),),
        outputs=(TensorSpec("inverted", "float32", ("h", "w", 3)),),
        buckets=tuple({"h": side, "w": side} for side in SIDES_PX),
    )

    def __init__(self, weights: Weights, *, step_s: float) -> None:
        super().__init__(weights, InferenceSettings())
        self.card = "# Inversion\n"
        self._step_s = step_s
        self.rounds = 0

    def read(self, upload: Upload[Options]) -> tuple[Pixels, Options]:
        try:
            with Image.open(io.BytesIO(upload.pictures["image"][0])) as image:
                return np.asarray(image.convert("RGB")), upload.options
        except UnidentifiedImageError as error:
            raise Problem(Code.UNREADABLE_IMAGE, "The picture cannot be read.") from error

    def predict(self, request: tuple[Pixels, Options]) -> Plan[tuple[Pixels, Options]]:
        pixels, options = request
        for _ in range(options.times):
            time.sleep(self._step_s)
            outputs = yield [{"image": self._padded(pixels)}]
            self.rounds += 1
            height, width = pixels.shape[:2]
            pixels = np.rint(outputs[0]["inverted"][:height, :width] * 255).astype(np.uint8)
        return pixels, options

    def render(self, result: tuple[Pixels, Options], media_type: str, evidence: Evidence) -> Rendered:
        pixels, options = result
        if media_type == "application/json":
            height, width = pixels.shape[:2]
            record = Record(width=width, height=height, tags=options.tags, evidence=evidence)
            return Rendered(record.model_dump_json().encode(), media_type)
        return Rendered(_png(pixels), media_type, {"X-Tiny": "yes"})

    def _padded(self, pixels: Pixels) -> Pixels:
        side = next(side for side in SIDES_PX if side >= max(pixels.shape[:2]))
        padded = np.zeros((side, side, 3), np.uint8)
        padded[: pixels.shape[0], : pixels.shape[1]] = pixels
        return padded


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_png() -> MakePng:
    """A plain picture of one value."""

    def make(value: int = 50, *, width: int = 8, height: int = 6) -> bytes:
        return _png(np.full((height, width, 3), value, np.uint8))

    return make


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Weights:
    path = tmp_path / "tiny.onnx"
    onnx.save(inverting_graph(), path)
    path.with_suffix(".toml").write_text(CONTRACT)
    return load_weights(path, path.with_suffix(".toml"), shipped=True)


@pytest.fixture
def make_settings() -> MakeSettings:
    def make(**values: Any) -> ServiceSettings:
        return ServiceSettings(**{"providers": (Provider.CPU,), "intra_op_threads": 1, "codec_threads": 2, **values})

    return make


@pytest.fixture
def make_predictor(tiny_weights: Weights) -> Callable[..., AnyPredictor]:
    def make(*, step_s: float = 0.0, weights: Weights = tiny_weights) -> AnyPredictor:
        return InvertingPredictor(weights, step_s=step_s)

    return make


@pytest.fixture
def make_app(make_predictor: Callable[..., AnyPredictor], make_settings: MakeSettings) -> MakeApp:
    def make(
        predictor: AnyPredictor | None = None,
        *,
        on_fatal: Callable[[], None] = stop_process,
        **settings: Any,
    ) -> FastAPI:
        return create_app(predictor or make_predictor(), make_settings(**settings), on_fatal=on_fatal)

    return make


@pytest.fixture
def wait_ready() -> WaitReady:
    def wait(url: str) -> None:
        limit = time.monotonic() + 20
        while httpx2.get(f"{url}/readyz").status_code != 200:
            assert time.monotonic() < limit, "the service did not become ready"
            time.sleep(0.01)

    return wait


@pytest.fixture
def value_of() -> Callable[[bytes], Sequence[int]]:
    """The distinct values in a picture."""

    def values(data: bytes) -> Sequence[int]:
        with Image.open(io.BytesIO(data)) as image:
            return [int(value) for value in np.unique(np.asarray(image))]

    return values
