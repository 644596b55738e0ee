"""Session that runs the detector, and the interaction network on the features of its boxes; the layout network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import RunOptions

from services.hoi.contract_facts import PERSON, ContractFacts
from services.hoi.detections import Detections
from sightline.inference.adapter import Adapter, TensorAdapter
from sightline.inference.contract import ContractError
from sightline.inference.detector import PICTURE, SCALE, DetectorSession
from sightline.inference.engine import open_graph, precision_on
from sightline.inference.providers import EXECUTION_PROVIDERS
from sightline.inference.settings import InferenceSettings, Provider
from sightline.inference.signature import ModelSignature, Tensors
from sightline.inference.weights import Weights
from sightline.postprocessing.interactions import LayoutOutputs

PART, LAYOUT_PART = "interactions", "layout"
FEATURES = ("p3", "p4", "p5")
BOXES = ("people", "objects", "object_scores")
DETECTED = ("boxes", "scores", "labels")
OF_PEOPLE = ("actions", "targets", "person_logits")
OF_ALL = ("object_logits",)
LAYOUT_INPUTS, LAYOUT_OUTPUTS = ("people", "objects", "labels", "scores", "size"), ("action_logits", "pair_logits")
UNKNOWN_CLASS = -1


class CascadeSession:
    """An inference session of two ONNX graphs: the detector, and the interaction network on the features of its boxes.

    With another `detector`, the first graph only computes the features of that one's boxes. The outputs have as many
    rows as the signature says; rows beyond the detected boxes have the score 0. The interaction network takes the boxes
    of one picture, whatever their number.
    """

    max_batch = 1  # pictures differ in their number of boxes, so the interaction network cannot batch them

    def __init__(
        self,
        weights: Weights,
        facts: ContractFacts,
        signature: ModelSignature,
        settings: InferenceSettings,
        detector: DetectorSession | None = None,
    ) -> None:
        if PART not in weights.parts:
            raise ContractError(f"{weights.contract.name}: parts must name the file of the {PART}")
        self._facts, self._adapter = facts, Adapter.between(signature, weights.contract)
        self._image, *_ = self._adapter.inputs
        outputs = {each.spec.name: each for each in self._adapter.outputs}
        self._shapes = {spec.name: (spec.sized(signature.buckets[0]), spec.dtype) for spec in signature.outputs}
        self._rows = self._shapes["scores"][0][0]
        self._boxes = None if detector is None else BoxSource(detector, facts)
        own_boxes = [] if detector else [outputs[name] for name in DETECTED]
        self._features = _Graph(weights.path, settings, own_boxes, FEATURES)
        self._interactions = _Graph(weights.parts[PART], settings, [outputs[name] for name in (*OF_PEOPLE, *OF_ALL)])
        providers = {self._features.provider, self._interactions.provider}
        if len(providers | ({detector.provider} if detector else set())) > 1:
            raise ContractError(f"{weights.contract.name}: all graphs must run on one provider")
        self.provider = EXECUTION_PROVIDERS[self._features.provider]
        self.precision = precision_on(self._features.provider, weights, settings)
        self._check(signature)
        self._warm(signature)

    def run(self, batch: Tensors) -> Tensors:
        count = len(batch["image"])
        samples = [{name: values[at : at + 1] for name, values in batch.items()} for at in range(count)]
        results = [self._recognize(self._detect(sample)) for sample in samples]
        return {name: np.stack([outputs[name] for outputs in results]) for name in results[0]}

    def _detect(self, sample: Tensors) -> Tensors:
        """Boxes and features of one picture, without the boxes beyond the number of rows."""
        detected = self._features.run({self._image.declared.tensor: self._image.to_file(sample["image"])})
        boxes = detected if self._boxes is None else self._boxes.detect(sample[PICTURE][0], sample[SCALE][0])
        return {**detected, **{name: boxes[name][: self._rows] for name in DETECTED}}

    def _recognize(self, detected: Tensors) -> Tensors:
        outputs = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self._shapes.items()}
        if count := len(detected["scores"]):
            all_rows, people = np.arange(count), np.flatnonzero(detected["labels"] == self._facts.person)
            recognized = self._interactions.run(self._interaction_inputs(detected, people))
            filled = (DETECTED, all_rows, detected), (OF_PEOPLE, people, recognized), (OF_ALL, all_rows, recognized)
            for names, rows, values in filled:
                for name in names:
                    outputs[name][rows] = values[name]
        return outputs

    def _interaction_inputs(self, detected: Tensors, people: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        boxes, scores, labels = (detected[name] for name in DETECTED)
        object_scores = np.zeros((len(scores), len(self._facts.classes)), np.float32)
        object_scores[np.arange(len(scores)), labels] = scores
        features = {name: detected[name] for name in FEATURES}
        return {**features, "people": boxes[people], "objects": boxes, "object_scores": object_scores}

    def _warm(self, signature: ModelSignature) -> None:
        """Runs both graphs, the second with one person per row: the detector finds nobody in a blank picture."""
        sample = signature.blank(signature.keys[0], batch=1)
        _, height, width, _ = sample["image"].shape
        people: Tensors = {
            "boxes": np.tile(np.array([0, 0, width, height], np.float32), (self._rows, 1)),
            "scores": np.ones(self._rows, np.float32),
            "labels": np.full(self._rows, self._facts.person, np.int64),
        }
        self._recognize({**self._detect(sample), **people})

    def _check(self, signature: ModelSignature) -> None:
        pictures = [self._image.spec.sized(bucket) for bucket in signature.buckets]
        self._features.check(signature, {self._image.declared.tensor})
        self._image.check(self._features.inputs, pictures, 1)
        self._interactions.check(signature, {*FEATURES, *BOXES})


class BoxSource:
    """A detector in place of the first graph's own boxes, with its classes by their index in the facts."""

    def __init__(self, detector: DetectorSession, facts: ContractFacts) -> None:
        names = detector.contract.output.classes
        if PERSON not in names:
            raise ContractError(f"{detector.contract.name}: output.classes must have the class {PERSON!r}")
        index = {name: at for at, name in enumerate(facts.classes)}
        self._labels = np.array([index.get(name, UNKNOWN_CLASS) for name in names], np.int64)
        self._detector = detector

    def detect(self, picture: NDArray[np.uint8], scale_xy: NDArray[np.float32]) -> Tensors:
        """Boxes in pixels of the first graph's picture, of which one of `picture` has `scale_xy`."""
        found = self._detector.run(picture).scaled(*map(float, scale_xy))
        labels = self._labels[found.labels]
        known = labels != UNKNOWN_CLASS
        return {"boxes": found.boxes_xyxy[known], "scores": found.scores[known], "labels": labels[known]}


class LayoutGraph:
    """The layout network: scores of actions and pairs from the boxes, classes and scores of a whole photo."""

    def __init__(self, path: Path, name: str, settings: InferenceSettings) -> None:
        # On the CPU beside any accelerator: it takes a few microseconds for each pair.
        _, self._session = open_graph(path, settings.model_copy(update={"providers": (Provider.CPU,)}))
        found = sorted(each.name for each in self._session.get_inputs())
        if found != sorted(LAYOUT_INPUTS):
            raise ContractError(f"{name}: the layout graph takes {found}, it should take {sorted(LAYOUT_INPUTS)}")

    @classmethod
    def of(cls, weights: Weights, settings: InferenceSettings) -> "LayoutGraph | None":
        """The layout network of the weights; None for weights without that part."""
        path = weights.parts.get(LAYOUT_PART)
        return None if path is None else cls(path, weights.contract.name, settings)

    def run(self, detections: Detections, people: Sequence[int], size_px: tuple[int, int]) -> LayoutOutputs | None:
        """Outputs for these people and all detections, in a photo of this width and height; None without people."""
        if not people:
            return None
        feeds = {
            "people": detections.boxes_xyxy[list(people)],
            "objects": detections.boxes_xyxy,
            "labels": detections.labels,
            "scores": detections.scores,
            "size": np.array(size_px, np.float32),
        }
        return LayoutOutputs(*self._session.run(list(LAYOUT_OUTPUTS), feeds))


class _Graph:
    """One ONNX file, with some outputs under their canonical names and others under their own."""

    def __init__(
        self, path: Path, settings: InferenceSettings, outputs: Sequence[TensorAdapter], others: Sequence[str] = ()
    ) -> None:
        self.provider, self._session = open_graph(path, settings)
        self._outputs, self._others, self._options = outputs, others, RunOptions()
        # Skips the heads of a detector whose boxes another one replaces: a third of its time.
        self._options.only_execute_path_to_fetches = True
        self._names = [*(each.declared.tensor for each in outputs), *others]
        self.inputs: Mapping[str, Any] = {each.name: each for each in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        values = dict(zip(self._names, self._session.run(self._names, dict(feeds), self._options), strict=True))
        canonical = {each.spec.name: each.from_file(values[each.declared.tensor]) for each in self._outputs}
        return {**canonical, **{name: values[name] for name in self._others}}

    def check(self, signature: ModelSignature, inputs: set[str]) -> None:
        """Raises ContractError where inputs or outputs differ from the declared ones; the number of boxes may vary."""
        if set(self.inputs) != inputs:
            raise ContractError(f"the graph takes {sorted(self.inputs)}, it should take {sorted(inputs)}")
        found = {each.name: each for each in self._session.get_outputs()}
        if missing := sorted(set(self._others) - set(found)):
            raise ContractError(f"tensor {missing[0]!r} is not in the graph, which has {sorted(found)}")
        for each in self._outputs:
            each.check(found, [each.spec.sized(signature.buckets[0])[1:]], None)
