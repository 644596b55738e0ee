"""The exported network on pictures that it was not trained on, beside what the same boxes give without looking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from sightline.networks.interactnet import Interactions
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training.hoi.baselines import by_prior, verb_prior
from sightline.training.hoi.box_scores import BoxScores, box_scores
from sightline.training.hoi.coco import Scene
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.observations import seen_boxes
from sightline.training.hoi.onnx_network import OnnxInteractNet
from sightline.training.hoi.predictions import Boxes, Triplets, as_prediction, compose, plausible_slots
from sightline.training.hoi.role_scores import Scores, mean, score
from sightline.training.hoi.served import ServedScene
from sightline.training.photos import Picture, read_rgb

Finder = Callable[[Picture], Detections]
LEAST_TRUTHS = 5
"""Roles of fewer truths are left out of means: their AP is a matter of luck."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen in a scene, and what the branches say of it; `scale` leads to the scene's pixels along x and y."""

    scene: Scene
    found: Detections
    seen: Boxes
    said: Interactions
    scale: tuple[float, float]


def look_at(network: OnnxInteractNet, scenes: Sequence[Scene], finder: Finder | None = None) -> list[Look]:
    """Through the network's own boxes, or those of another detector on the network's features."""
    return [_look(network, scene, finder) for scene in scenes]


def _look(network: OnnxInteractNet, scene: Scene, finder: Finder | None) -> Look:
    picture, size = read_rgb(scene.path), (scene.width, scene.height)
    found, levels = network.look(picture, size)
    width, height = network.fitted(size)
    if finder:
        found = finder(picture).scaled(width / picture.shape[1], height / picture.shape[0])
    seen = seen_boxes(found)
    return Look(scene, found, seen, network.interact(levels, seen), (scene.width / width, scene.height / height))


def methods(composition: Composition, training: Sequence[Scene]) -> Mapping[str, Callable[[Look], Triplets]]:
    """The network, the network without a part, and the baselines."""
    prior = verb_prior([scene.truth for scene in training])
    allowed, anything = plausible_slots(), plausible_slots(any_class=True)

    def composed(how: Composition, table: Tensor = allowed) -> Callable[[Look], Triplets]:
        return lambda look: compose(look.said, look.seen, table[look.seen.labels], how)

    return {
        "InteractNet": composed(composition),
        "without target localisation": composed(replace(composition, uses_targets=False)),
        "without interaction branch": composed(replace(composition, action_score=ActionScore.PERSON)),
        "without human-centric actions": composed(replace(composition, action_score=ActionScore.PAIR)),
        "any class in any role": composed(composition, anything),
        "prior": lambda look: by_prior(look.seen, prior, allowed[look.seen.labels], near=False),
        "prior, near": lambda look: by_prior(look.seen, prior, allowed[look.seen.labels], near=True),
    }


def role_scores(looks: Sequence[Look], method: Callable[[Look], Triplets]) -> Scores:
    predictions = [as_prediction(look.seen, method(look), look.scale) for look in looks]
    return score(predictions, [look.scene.truth for look in looks])


def boxes_of(looks: Sequence[Look]) -> BoxScores:
    return box_scores([look.found.scaled(*look.scale) for look in looks], [look.scene.truth for look in looks])


def comparison(looks: Sequence[Look], composition: Composition, training: Sequence[Scene]) -> str:
    """AP in per cent of every method on the same boxes, as Markdown."""
    lines = ["| method | AP_role S1 | AP_role S2 | AP_agent |", "|---|---|---|---|"]
    lines += [score_row(name, role_scores(looks, method)) for name, method in methods(composition, training).items()]
    return "\n".join(lines)


def score_row(name: str, scores: Scores) -> str:
    """AP_role in both scenarios and AP_agent, in per cent, as a row of Markdown."""
    common = scores.common_roles(LEAST_TRUTHS)
    agents = [(action, None) for action, count in scores.truths.items() if count >= LEAST_TRUTHS]
    figures = (mean(scores.scenario_1, common), mean(scores.scenario_2, common), mean(scores.agent, agents))
    return f"| {name} | {' | '.join(f'{100 * figure:.1f}' for figure in figures)} |"


def served_comparison(served: Sequence[ServedScene]) -> str:
    """AP in per cent of what a fleet returned, as Markdown."""
    scores = score([each.prediction for each in served], [each.scene.truth for each in served])
    lines = ["| method | AP_role S1 | AP_role S2 | AP_agent |", "|---|---|---|---|", score_row("served", scores)]
    return "\n".join(lines)


def served_boxes(served: Sequence[ServedScene]) -> BoxScores:
    return box_scores([each.found for each in served], [each.scene.truth for each in served])


def by_role(scores: Scores) -> str:
    """AP in per cent of each role that has truths, as Markdown."""
    lines = ["| action-role | truths | S1 | S2 |", "|---|---|---|---|"]
    for (action, role), figure in scores.scenario_1.items():
        if not np.isnan(figure):
            other = scores.scenario_2[action, role]
            lines.append(f"| {action}-{role} | {scores.truths[action]} | {100 * figure:.1f} | {100 * other:.1f} |")
    return "\n".join(lines)


def box_table(named: Mapping[str, BoxScores]) -> str:
    lines = ["| detector | person AP50 | mean AP50 | mean AP |", "|---|---|---|---|"]
    for name, scores in named.items():
        figures = (scores.person_ap_50, scores.mean_ap_50, scores.mean_ap)
        lines.append(f"| {name} | {' | '.join(f'{100 * figure:.1f}' for figure in figures)} |")
    return "\n".join(lines)
