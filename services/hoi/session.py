"""Session that runs the detector, and the interaction network on the features of its boxes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.hoi.contract_facts import ContractFacts
from sightline.inference.adapter import Adapter, TensorAdapter
from sightline.inference.contract import ContractError
from sightline.inference.engine import open_graph, precision_on
from sightline.inference.providers import EXECUTION_PROVIDERS
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, Tensors
from sightline.inference.weights import Weights

PART = "interactions"
FEATURES = ("p3", "p4", "p5")
BOXES = ("people", "objects", "object_scores")
DETECTED = ("boxes", "scores", "labels")
OF_PEOPLE = ("actions", "targets", "person_logits")
OF_ALL = ("object_logits",)


class CascadeSession:
    """An inference session of two ONNX graphs: the detector, and the interaction network on the features of its boxes.

    The outputs have as many rows as the signature says; rows beyond the detected boxes have the score 0. The
    interaction network takes the boxes of one picture, whatever their number.
    """

    max_batch = 1  # pictures differ in their number of boxes, so the interaction network cannot batch them

    def __init__(
        self, weights: Weights, facts: ContractFacts, signature: ModelSignature, settings: InferenceSettings
    ) -> None:
        if PART not in weights.parts:
            raise ContractError(f"{weights.contract.name}: parts must name the file of the {PART}")
        self._facts, self._adapter = facts, Adapter.between(signature, weights.contract)
        (self._image,), outputs = self._adapter.inputs, {each.spec.name: each for each in self._adapter.outputs}
        self._shapes = {spec.name: (spec.sized(signature.buckets[0]), spec.dtype) for spec in signature.outputs}
        self._rows = self._shapes["scores"][0][0]
        self._detector = _Graph(weights.path, settings, [outputs[name] for name in DETECTED], FEATURES)
        self._interactions = _Graph(weights.parts[PART], settings, [outputs[name] for name in (*OF_PEOPLE, *OF_ALL)])
        if self._detector.provider != self._interactions.provider:
            raise ContractError(f"{weights.contract.name}: both graphs must run on one provider")
        self.provider = EXECUTION_PROVIDERS[self._detector.provider]
        self.precision = precision_on(self._detector.provider, weights, settings)
        self._check(signature)
        self._warm(signature)

    def run(self, batch: Tensors) -> Tensors:
        results = [self._recognize(self._detect(picture[None])) for picture in batch["image"]]
        return {name: np.stack([outputs[name] for outputs in results]) for name in results[0]}

    def _detect(self, picture: NDArray[Any]) -> Tensors:
        """The detector's outputs, without the boxes beyond the number of rows."""
        detected = self._detector.run({self._image.declared.tensor: self._image.to_file(picture)})
        return {**detected, **{name: detected[name][: self._rows] for name in DETECTED}}

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
        picture = signature.blank(signature.keys[0], batch=1)["image"]
        _, height, width, _ = picture.shape
        people: Tensors = {
            "boxes": np.tile(np.array([0, 0, width, height], np.float32), (self._rows, 1)),
            "scores": np.ones(self._rows, np.float32),
            "labels": np.full(self._rows, self._facts.person, np.int64),
        }
        self._recognize({**self._detect(picture), **people})

    def _check(self, signature: ModelSignature) -> None:
        pictures = [self._image.spec.sized(bucket) for bucket in signature.buckets]
        self._detector.check(signature, {self._image.declared.tensor})
        self._image.check(self._detector.inputs, pictures, 1)
        self._interactions.check(signature, {*FEATURES, *BOXES})


class _Graph:
    """One ONNX file, with some outputs under their canonical names and others under their own."""

    def __init__(
        self, path: Path, settings: InferenceSettings, outputs: Sequence[TensorAdapter], others: Sequence[str] = ()
    ) -> None:
        self.provider, self._session = open_graph(path, settings)
        self._outputs, self._others = outputs, others
        self._names = [*(each.declared.tensor for each in outputs), *others]
        self.inputs: Mapping[str, Any] = {each.name: each for each in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        values = dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))
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
