"""Scores of the exported network, or of a running fleet, on held-out pictures, beside baselines on the same boxes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from sightline.api.media_types import JSON
from sightline.networks.boxes import encode
from sightline.networks.interactnet import Interactions
from sightline.postprocessing.interactions import NO_OBJECT, ActionScore, Composition, LayoutOutputs
from sightline.training.hoi.annotations import (
    ACTIONS,
    CLASS_INDEX,
    SLOT_INDEX,
    SLOTS,
    SLOTS_OF,
    Detections,
    GroundTruth,
)
from sightline.training.hoi.average_precision import BoxScores, Prediction, RoleScores, box_scores, mean_ap, role_scores
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.predictions import (
    BestTriplets,
    BoxTensors,
    OnnxInteractNet,
    compose,
    plausible_slots,
    to_prediction,
    top_boxes,
)
from sightline.training.photos import Picture, read_rgb
from sightline.training.served_model import ServedModel, encode_png

MIN_TRUTHS = 5
"""Means leave out roles with fewer truths, whose AP is mostly chance."""
NEARNESS_SIGMA = 1.0
"""Deviation of the distance between the centres, in sizes of the person."""
ROLE_HEADER = ["| method | AP_role S1 | AP_role S2 | AP_agent |", "|---|---|---|---|"]
WITHOUT_THRESHOLDS = {"min_score": "0", "min_detection_score": "0"}

DetectFunction = Callable[[Picture], Detections]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class ScenePrediction:
    """A scene's detections and the outputs of the branches and of the layout network for its top boxes.

    `scale` converts to the scene's pixels along x and y.
    """

    scene: Scene
    detections: Detections
    boxes: BoxTensors
    interactions: Interactions
    scale: tuple[float, float]
    layout: LayoutOutputs | None = None


def predict_scenes(
    network: OnnxInteractNet, scenes: Sequence[Scene], detector: DetectFunction | None = None
) -> list[ScenePrediction]:
    """Predictions for the network's own boxes, or those of another detector on the network's features."""
    return [_predict_scene(network, scene, detector) for scene in scenes]


def _predict_scene(network: OnnxInteractNet, scene: Scene, detector: DetectFunction | None) -> ScenePrediction:
    picture, size = read_rgb(scene.path), (scene.width, scene.height)
    detections, levels = network.detect(picture, size)
    width, height = network.input_size(size)
    if detector:
        detections = detector(picture).scaled(width / picture.shape[1], height / picture.shape[0])
    boxes = top_boxes(detections)
    scale = scene.width / width, scene.height / height
    layout = network.compare(boxes, (width, height))
    return ScenePrediction(scene, detections, boxes, network.interact(levels, boxes), scale, layout)


Method = Callable[[ScenePrediction], BestTriplets]


def methods(composition: Composition, training: Sequence[Scene]) -> Mapping[str, Method]:
    """The network, its ablations, and the baselines."""
    prior = verb_prior([scene.truth for scene in training])
    allowed, anything = plausible_slots(), plausible_slots(any_class=True)

    def composed(composition: Composition, plausible: Tensor = allowed) -> Method:
        return lambda each: compose(
            each.interactions, each.boxes, plausible[each.boxes.labels], composition, each.layout
        )

    return {
        "InteractNet": composed(composition),
        "without layout network": composed(replace(composition, layout_weight=0.0)),
        "layout network alone": composed(replace(composition, layout_weight=1.0, uses_targets=False)),
        "without target localisation": composed(replace(composition, uses_targets=False)),
        "without interaction branch": composed(replace(composition, action_score=ActionScore.PERSON)),
        "without human-centric actions": composed(replace(composition, action_score=ActionScore.PAIR)),
        "any class in any role": composed(composition, anything),
        "prior": lambda each: compose_prior(each.boxes, prior, allowed[each.boxes.labels], near=False),
        "prior, near": lambda each: compose_prior(each.boxes, prior, allowed[each.boxes.labels], near=True),
    }


def verb_prior(truths: Sequence[GroundTruth]) -> Tensor:
    """(slots,) share of the people with known actions that do each."""
    known = np.concatenate([truth.actions[(truth.actions >= 0).any(1)] for truth in truths])
    return torch.from_numpy((known == 1).mean(0).astype(np.float32))


def compose_prior(boxes: BoxTensors, prior: Tensor, plausible: Tensor, *, near: bool) -> BestTriplets:
    """Triplets by the prior alone, or by the prior times a Gaussian of the distance. plausible: (n, slots)."""
    people = boxes.boxes[boxes.people]
    offsets = encode(boxes.boxes[None], people[:, None])[..., :2]
    nearness = (-offsets.square().sum(-1) / (2 * NEARNESS_SIGMA**2)).exp() if near else torch.ones(offsets.shape[:2])
    fits = boxes.scores[None, :, None] * nearness[:, :, None] * prior * plausible
    fits[torch.arange(len(people)), boxes.people] = 0
    best, objects = fits.max(1)
    person_scores = boxes.scores[boxes.people][:, None]
    return BestTriplets(torch.where(best > 0, objects, NO_OBJECT), person_scores * best, person_scores * prior)


def method_scores(predictions: Sequence[ScenePrediction], method: Method) -> RoleScores:
    made = [to_prediction(each.boxes, method(each), each.scale) for each in predictions]
    return role_scores(made, [each.scene.truth for each in predictions])


def detector_scores(predictions: Sequence[ScenePrediction]) -> BoxScores:
    detections = [each.detections.scaled(*each.scale) for each in predictions]
    return box_scores(detections, [each.scene.truth for each in predictions])


def comparison(predictions: Sequence[ScenePrediction], composition: Composition, training: Sequence[Scene]) -> str:
    """AP in per cent of every method on the same boxes, as Markdown."""
    named = methods(composition, training).items()
    return "\n".join(ROLE_HEADER + [score_row(name, method_scores(predictions, method)) for name, method in named])


def score_row(name: str, scores: RoleScores) -> str:
    """AP_role in both scenarios and AP_agent, in per cent, as a row of Markdown."""
    common = scores.common_roles(MIN_TRUTHS)
    agents = [(action, None) for action, count in scores.truths.items() if count >= MIN_TRUTHS]
    means = (mean_ap(scores.scenario_1, common), mean_ap(scores.scenario_2, common), mean_ap(scores.agent, agents))
    return f"| {name} | {' | '.join(f'{100 * each:.1f}' for each in means)} |"


def role_table(scores: RoleScores) -> str:
    """AP in per cent of each role that has truths, as Markdown."""
    lines = ["| action-role | truths | S1 | S2 |", "|---|---|---|---|"]
    for (action, role), first in scores.scenario_1.items():
        if not np.isnan(first):
            second = scores.scenario_2[action, role]
            lines.append(f"| {action}-{role} | {scores.truths[action]} | {100 * first:.1f} | {100 * second:.1f} |")
    return "\n".join(lines)


def box_table(named: Mapping[str, BoxScores]) -> str:
    """AP in per cent of each detector's boxes, as Markdown."""
    lines = ["| detector | person AP50 | mean AP50 | mean AP |", "|---|---|---|---|"]
    for name, scores in named.items():
        figures = (scores.person_ap_50, scores.mean_ap_50, scores.mean_ap)
        lines.append(f"| {name} | {' | '.join(f'{100 * figure:.1f}' for figure in figures)} |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class ServedScene:
    """A scene with the detections and the prediction of the service, both in the scene's pixels."""

    scene: Scene
    detections: Detections
    prediction: Prediction


def served_scenes(model: ServedModel, scenes: Sequence[Scene]) -> list[ServedScene]:
    """Results of the service on each scene."""
    return [_served_scene(_request_record(model, _full_size(scene)), scene) for scene in scenes]


def served_comparison(served: Sequence[ServedScene]) -> str:
    """AP in per cent of the service's results, as Markdown."""
    scores = role_scores([each.prediction for each in served], [each.scene.truth for each in served])
    return "\n".join([*ROLE_HEADER, score_row("served", scores)])


def served_box_scores(served: Sequence[ServedScene]) -> BoxScores:
    return box_scores([each.detections for each in served], [each.scene.truth for each in served])


def _request_record(model: ServedModel, picture: Picture) -> Record:
    """The service's record with all detections and interactions, without thresholds."""
    record: Record = json.loads(model({"image": encode_png(picture)}, JSON, **WITHOUT_THRESHOLDS))
    return record


def _full_size(scene: Scene) -> Picture:
    """The file's picture, which may have been squashed, at the size of its ground truth."""
    return np.asarray(cv2.resize(read_rgb(scene.path), (scene.width, scene.height), interpolation=cv2.INTER_CUBIC))


def _served_scene(record: Record, scene: Scene) -> ServedScene:
    return ServedScene(scene, detections_from(record), prediction_from(record))


def detections_from(record: Record) -> Detections:
    rows = record["detections"]
    boxes = np.array([each["box_xyxy"] for each in rows], np.float32).reshape(-1, 4)
    labels = np.array([CLASS_INDEX[each["label"]] for each in rows], np.int64)
    return Detections(boxes, labels, np.array([each["score"] for each in rows], np.float32))


def prediction_from(record: Record) -> Prediction:
    """The people that have interactions. An action's score is that of person and action, averaged over its roles."""
    boxes = {each["id"]: each["box_xyxy"] for each in record["detections"]}
    rows = {person: row for row, person in enumerate(dict.fromkeys(each["person"] for each in record["interactions"]))}
    role_boxes = np.full((len(rows), len(SLOTS), 4), np.nan, np.float32)
    scores, agents = np.zeros((len(rows), len(SLOTS)), np.float32), np.zeros((len(rows), len(SLOTS)), np.float32)
    for each in record["interactions"]:
        at = rows[each["person"]], SLOT_INDEX[each["action"], each["role"]]
        scores[at] = each["score"]
        agents[at] = each["factors"]["person"] * each["factors"]["action"]
        if each["object"] is not None:
            role_boxes[at] = boxes[each["object"]]
    people = np.array([boxes[person] for person in rows], np.float32).reshape(-1, 4)
    action_scores = np.stack([agents[:, list(SLOTS_OF[action])].mean(1) for action in ACTIONS], 1)
    return Prediction(people, action_scores, role_boxes, scores)
