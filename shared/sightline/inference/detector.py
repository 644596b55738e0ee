"""Object detectors in ONNX files with a contract of their own, for models that start from boxes.

A detector's contract is a TOML file beside the weights:

    task = "detection"
    name = "picodet-s-416"
    version = "2022.1"

    [input]
    tensor = "image"                     # left out: the only input of the graph
    size = [416, 416]                    # height, width
    channels = "rgb"                     # or "bgr"
    mean = [123.675, 116.28, 103.53]     # of 0..255, in the order of the channels
    std = [58.395, 57.12, 57.375]
    resize = "stretch"                   # or "letterbox": at the top left of a picture of `padding`

    [output]
    decoder = "picodet"                  # or "nanodet_plus", or "boxes"
    tensors = ["s8", "s16"]              # left out: all outputs of the graph, in its order
    nms_iou = 0.6                        # left out: no suppression
    min_score = 0.05
    classes = ["person", "bicycle"]      # left out: COCO's 80

    [facts]                              # entries that replace those of the model behind the detector

    [sha256]
    "picodet_s_416.onnx" = "cdab...d0c2"
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sightline.api.evidence import DetectorIdentity
from sightline.inference.contract import ContractError, Digest, DType, Positive, TensorContract, read_toml
from sightline.inference.engine import open_graph
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import TensorSpec
from sightline.inference.weights import Weights, digest_files, verify_digests
from sightline.postprocessing.detection import (
    COCO_CLASSES,
    STRIDES,
    DetectedObjects,
    best_objects,
    decode_nanodet_plus,
    decode_picodet,
    suppress,
)

PICTURE, SCALE = "detector_picture", "detector_scale"
DETECTOR_FOLDER = "detector"  # before the names of its files in evidence records
CONTRACTS = Path(__file__).parent / "catalogue" / "contracts"
GREY = 114
MAX_BOXES = 100

Pixels = NDArray[np.uint8]
UnitFloat = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[float, float, float]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Resizing(StrEnum):
    """The fit of a picture to the detector's input: the whole input, or its own proportions and padding."""

    STRETCH = "stretch"
    LETTERBOX = "letterbox"


class Decoder(StrEnum):
    """The form of a detector's outputs.

    boxes: corners (n, 4) in pixels of the input, scores (n,) and labels (n,), with or without a batch axis;
    nanodet_plus and picodet: see `sightline.postprocessing.detection`.
    """

    BOXES = "boxes"
    NANODET_PLUS = "nanodet_plus"
    PICODET = "picodet"


OUTPUTS = {Decoder.BOXES: 3, Decoder.NANODET_PLUS: 1, Decoder.PICODET: 2 * len(STRIDES)}


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DetectorInput(_Declared):
    """The picture that the graph takes: (1, 3, height, width) float32."""

    tensor: str | None = None
    size: tuple[Positive, Positive]
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Triple = (0.0, 0.0, 0.0)
    std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    resize: Resizing = Resizing.STRETCH
    padding: Annotated[int, Field(ge=0, le=255)] = GREY

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a picture of that size in the input."""
        rows, columns = self.size
        if self.resize is Resizing.STRETCH:
            return columns, rows
        scale = min(columns / width, rows / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def draw(self, pixels: Pixels) -> Pixels:
        """The input (height, width, 3) RGB of a picture."""
        fitted = resize_picture(pixels, *self.fit(pixels.shape[1], pixels.shape[0]))
        if fitted.shape[:2] == self.size:
            return fitted
        canvas = np.full((*self.size, 3), self.padding, np.uint8)
        canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
        return canvas

    def normalize(self, drawn: Pixels) -> NDArray[np.float32]:
        """The tensor (1, 3, height, width) of what `draw` returns."""
        ordered = drawn if self.channels == "rgb" else drawn[..., ::-1]
        values = (ordered.astype(np.float32) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


class DetectorOutput(_Declared):
    """The graph's outputs, and the boxes that are kept."""

    decoder: Decoder
    tensors: tuple[str, ...] | None = None
    nms_iou: UnitFloat | None = None
    min_score: UnitFloat = 0.05
    max_boxes: Positive = MAX_BOXES
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = COCO_CLASSES


class DetectorContract(_Declared):
    """The declaration of a detector's file."""

    task: Literal["detection"]
    name: str
    version: str
    input: DetectorInput
    output: DetectorOutput
    facts: Mapping[str, Any] = Field(default_factory=dict)
    sha256: Mapping[str, Digest] = Field(default_factory=dict)

    def override(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The facts of a model, with those of this contract in their place; tables are merged."""
        return _merge(facts, self.facts)


def _merge(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in others.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


@dataclass(frozen=True, slots=True)
class DetectorWeights:
    """A detector's ONNX file with its contract. `sha256` is of its bytes and of its external data."""

    path: Path
    sha256: str
    contract: DetectorContract
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """True if the contract has the SHA-256 of each file."""
        return bool(self.contract.sha256)

    @property
    def identity(self) -> DetectorIdentity:
        return DetectorIdentity(name=self.contract.name, version=self.contract.version, weights_sha256=self.sha256)


def with_detector(weights: Weights, detector: DetectorWeights) -> Weights:
    """The weights of a model behind a detector. Their signature takes the detector's picture and its scale too.

    The model's facts are merged with those of the detector's contract.
    """
    contract = weights.contract
    inputs = {
        PICTURE: TensorContract(tensor=PICTURE, dtype=DType.UINT8),
        SCALE: TensorContract(tensor=SCALE, dtype=DType.FLOAT32),
    }
    update = {"inputs": {**contract.inputs, **inputs}, "facts": detector.contract.override(contract.facts)}
    return replace(
        weights,
        sha256=hashlib.sha256(f"{weights.sha256}{detector.sha256}".encode()).hexdigest(),
        contract=contract.model_copy(update=update),
        detector=detector.identity,
        detector_verified=detector.verified,
        digests={**weights.digests, **{f"{DETECTOR_FOLDER}/{file}": each for file, each in detector.digests.items()}},
    )


def detector_inputs(detector: DetectorWeights) -> tuple[TensorSpec, TensorSpec]:
    """The tensors that a model behind a detector takes for it.

    They are the picture that `DetectorInput.draw` returns, and the pixels of the model's own picture in one of that
    picture, along x and y.
    """
    picture = TensorSpec(PICTURE, "uint8", (*detector.contract.input.size, 3), low=0, high=255)
    return picture, TensorSpec(SCALE, "float32", (2,))


def load_detector(path: Path) -> DetectorWeights:
    """Reads an ONNX file with the contract beside it, or a folder with one such pair.

    Raises ContractError where one is missing, or a file differs from its digest in the contract.
    """
    contract_path = _contract_in(path) if path.is_dir() else path.with_suffix(".toml")
    contract, file = read_toml(contract_path, DetectorContract), contract_path.with_suffix(".onnx")
    if not file.is_file():
        raise ContractError(f"{file}: the detector cannot be read: no such file")
    whole, digests = digest_files([file])
    verify_digests(contract.name, contract.sha256, digests, contract_path)
    return DetectorWeights(file, whole, contract, digests)


def catalogued_contract(name: str) -> DetectorContract:
    """The contract of a public detector of the catalogue, which has no digest of a file."""
    return read_toml(CONTRACTS / f"{name}.toml", DetectorContract)


def _contract_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.toml"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise ContractError(f"{folder}: a detector's folder has exactly one contract (*.toml), this one has: {names}")
    return found[0]


class DetectorSession:
    """A detector, loaded on an execution provider."""

    def __init__(self, weights: DetectorWeights, settings: InferenceSettings) -> None:
        self.contract = weights.contract
        self.provider, self._session = open_graph(weights.path, settings)
        self._input = self._check_input()
        self._outputs = self._check_outputs()

    def detect(self, pixels: Pixels) -> DetectedObjects:
        """Objects in a picture (h, w, 3) RGB, in its pixels."""
        height, width = pixels.shape[:2]
        seen_width, seen_height = self.contract.input.fit(width, height)
        found = self.run(self.contract.input.draw(pixels))
        boxes = found.boxes_xyxy.clip(0, np.array([seen_width, seen_height] * 2, np.float32))
        return DetectedObjects(boxes, found.scores, found.labels).scaled(width / seen_width, height / seen_height)

    def run(self, drawn: Pixels) -> DetectedObjects:
        """Objects in what the input's `draw` returned, in its pixels: the best `max_boxes` after suppression."""
        outputs = self._session.run(self._outputs, {self._input: self.contract.input.normalize(drawn)})
        found, output = self._decode([np.asarray(each) for each in outputs]), self.contract.output
        height, width = self.contract.input.size
        found = DetectedObjects(
            found.boxes_xyxy.clip(0, np.array([width, height] * 2, np.float32)), found.scores, found.labels
        )
        if output.nms_iou is not None:
            found = found.select(suppress(found.boxes_xyxy, found.labels, output.nms_iou))
        return found.select(np.arange(min(len(found), output.max_boxes)))

    def _decode(self, outputs: Sequence[NDArray[Any]]) -> DetectedObjects:
        """Boxes before suppression. ValueError where the outputs have other shapes than the decoder's."""
        output, size, classes = self.contract.output, self.contract.input.size, len(self.contract.output.classes)
        match output.decoder:
            case Decoder.BOXES:
                boxes, scores, labels = outputs
                found = best_objects(boxes.reshape(-1, 4), scores.ravel(), labels.ravel(), output.min_score)
                return found.select((found.labels >= 0) & (found.labels < classes))
            case Decoder.NANODET_PLUS:
                return decode_nanodet_plus(outputs[0][0], classes, size, output.min_score)
            case Decoder.PICODET:
                return decode_picodet([each[0] for each in outputs], classes, size, output.min_score)

    def _check_input(self) -> str:
        graph = {each.name: each for each in self._session.get_inputs()}
        name = self.contract.input.tensor or next(iter(graph))
        if set(graph) != {name}:
            raise self._fault(f"the graph takes {sorted(graph)}, the contract has {name!r}")
        shape = graph[name].shape
        wanted = (1, 3, *self.contract.input.size)
        if len(shape) != 4 or any(isinstance(at, int) and at != size for at, size in zip(shape, wanted, strict=True)):
            raise self._fault(f"input {name!r}: the contract needs the shape {list(wanted)}, the graph has {shape}")
        return name

    def _check_outputs(self) -> list[str]:
        """The names of the outputs; runs a blank picture, as the shapes of many graphs are only known then."""
        graph = [each.name for each in self._session.get_outputs()]
        names, output = list(self.contract.output.tensors or graph), self.contract.output
        if missing := sorted(set(names) - set(graph)):
            raise self._fault(f"tensor {missing[0]!r} is not in the graph, which has {graph}")
        if len(names) != OUTPUTS[output.decoder]:
            raise self._fault(f"decoder {output.decoder!r} needs {OUTPUTS[output.decoder]} tensors, not {names}")
        blank = self.contract.input.normalize(np.zeros((*self.contract.input.size, 3), np.uint8))
        try:
            self._decode([np.asarray(each) for each in self._session.run(names, {self._input: blank})])
        except (ValueError, IndexError) as error:
            classes = len(output.classes)
            raise self._fault(f"the outputs do not fit {output.decoder!r} with {classes} classes: {error}") from error
        return names

    def _fault(self, fault: str) -> ContractError:
        return ContractError(f"{self.contract.name}: {fault}")


def resize_picture(pixels: Pixels, width: int, height: int) -> Pixels:
    """The picture at another size: averaged where it shrinks, and interpolated where it grows along one side."""
    shrinks = pixels.shape[1] >= width and pixels.shape[0] >= height
    filtering = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=filtering), np.uint8)
