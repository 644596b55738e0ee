"""From what was found to who does what with what (Gkioxari et al., CVPR 2018, section 3.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.hoi.encoding import encoded
from services.hoi.facts import ActionScore, Facts, Slot
from services.hoi.found import Floats, Found


@dataclass(frozen=True, slots=True)
class Factors:
    """What a score is the product of; `object` and `target` are None where no object takes part."""

    person: float
    action: float
    object: float | None = None
    target: float | None = None

    @property
    def score(self) -> float:
        with_object = 1.0 if self.object is None or self.target is None else self.object * self.target
        return self.person * self.action * with_object


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """A person's action; `person` and `object` index what was found, `mean` is the (4,) box where the object is
    expected as encoded relative to the person, of slots with a role."""

    person: int
    slot: Slot
    object: int | None
    factors: Factors
    mean: Floats | None

    @property
    def score(self) -> float:
        return self.factors.score


def interactions(found: Found, people: list[int], facts: Facts, *, objects_per_role: int) -> list[Interaction]:
    """All of these people, by falling score; low ones are not left out."""
    every = [each for person in people for each in _of(found, person, facts, objects_per_role)]
    return sorted(every, key=lambda each: -each.score)


def _of(found: Found, person: int, facts: Facts, objects_per_role: int) -> Iterator[Interaction]:
    """Every action of one person, with the objects that fit best or with none where nothing does."""
    score, alone, targets = float(found.scores[person]), found.actions[person], found.targets[person]
    action, target = _action_scores(found, person, facts), _target_scores(found, person, facts)
    fits = found.scores[:, None] * action * target * facts.plausible[found.labels]
    fits[person] = 0
    for at, slot in enumerate(facts.slots):
        mean = targets[at] if slot.role else None
        # A person who surely rides must ride a surer thing than one who hardly does.
        least = facts.thresholds.empty_role * float(alone[at])
        things = _best(fits[:, at], objects_per_role, least) if slot.role else []
        for thing in things:
            factors = Factors(score, float(action[thing, at]), float(found.scores[thing]), float(target[thing, at]))
            yield Interaction(person, slot, thing, factors, mean)
        if not things:
            yield Interaction(person, slot, None, Factors(score, float(alone[at])), mean)


def _best(fits: Floats, most: int, least: float) -> list[int]:
    """Of what fits at all."""
    return [int(thing) for thing in np.argsort(-fits, kind="stable")[:most] if fits[thing] >= least and fits[thing] > 0]


def _action_scores(found: Found, person: int, facts: Facts) -> Floats:
    """(n, slots): s^a of the person with each of the things."""
    alone = np.broadcast_to(found.actions[person], found.object_logits.shape)
    if facts.action_score is ActionScore.PERSON:
        return alone
    pair = sigmoid(found.person_logits[person] + found.object_logits)
    return pair if facts.action_score is ActionScore.PAIR else np.sqrt(alone * pair)


def _target_scores(found: Found, person: int, facts: Facts) -> Floats:
    """(n, slots): g, how well each thing is where the person's looks say that the object is."""
    places = encoded(found.boxes_xyxy, found.boxes_xyxy[person])
    squares = ((places[:, None] - found.targets[person]) ** 2).sum(-1)
    return np.asarray(np.exp(-squares / (2 * facts.sigma**2)), np.float32)


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), np.float32)
