"""Which known part of a picture looks most like a filled one, and goes on like its neighbours' choices."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats

MAX_SOURCES = 3000
TARGETS_AT_ONCE = 2048
DISTANCE_COST = 60.0  # what the length of the picture costs, in levels of 255
VARIETY = 1.0  # up to how much worse a source may be that is taken for a change
PATIENCE = (1.5, 1.0, 1.0)  # by turn, how much worse a source may look that goes on where the neighbour's ends
NEIGHBOURS = ((0, -2), (-2, 0), (0, 2), (2, 0))

Places = NDArray[np.intp]
"""(n, 2) rows and columns on a grid of half blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """How the block at every place looks when coarse, (rows, columns, features), and where it may be copied from."""

    features: Floats
    usable: NDArray[np.bool_]

    def at(self, places: Places) -> Floats:
        found: Floats = self.features[places[:, 0], places[:, 1]]
        return found


def match(looks: Looks, targets: Places) -> Places:
    """A usable place for each target; there must be one. Targets are whole blocks, two places, apart."""
    wanted = looks.at(targets)
    sources = np.full((*looks.usable.shape, 2), -1, np.intp)
    sources[targets[:, 0], targets[:, 1]] = _alike(looks, targets, wanted)
    for patience, step in product(PATIENCE, NEIGHBOURS):
        _follow(looks, targets, wanted, sources, np.array(step), patience=patience)
    chosen: Places = sources[targets[:, 0], targets[:, 1]]
    return chosen


def _alike(looks: Looks, targets: Places, wanted: Floats) -> Places:
    """The most alike of a sample of places; near ones are preferred."""
    offered, rng = np.argwhere(looks.usable), np.random.default_rng(0)
    if len(offered) > MAX_SOURCES:
        offered = offered[rng.choice(len(offered), MAX_SOURCES, replace=False)]
    cost = DISTANCE_COST * looks.features.shape[2] ** 0.5 / max(looks.usable.shape)
    where = np.concatenate([looks.at(offered), offered * cost], 1).astype(np.float32)
    what = np.concatenate([wanted, targets * cost], 1).astype(np.float32)
    parts = [what[first : first + TARGETS_AT_ONCE] for first in range(0, len(what), TARGETS_AT_ONCE)]
    return np.asarray(offered[np.concatenate([_nearest(part, where, rng) for part in parts])])


def _nearest(what: Floats, where: Floats, rng: np.random.Generator) -> Places:
    """At random among those that are about as near, for the same one everywhere would show as a lattice."""
    distances = (what**2).sum(1)[:, None] + (where**2).sum(1) - 2 * what @ where.T
    return np.asarray((distances * (1 + VARIETY * rng.random(distances.shape, np.float32))).argmin(1))


def _follow(looks: Looks, targets: Places, wanted: Floats, sources: Places, step: Places, *, patience: float) -> None:
    """Go on from the neighbour's source where that looks well enough."""
    neighbours, inside = _clipped(targets + step, looks)
    theirs = sources[neighbours[:, 0], neighbours[:, 1]]
    candidates, possible = _clipped(theirs - step, looks)
    possible &= inside & (theirs[:, 0] >= 0) & looks.usable[candidates[:, 0], candidates[:, 1]]
    mine = sources[targets[:, 0], targets[:, 1]]
    taken = possible & (_errors(looks, candidates, wanted) < patience * _errors(looks, mine, wanted))
    sources[targets[taken, 0], targets[taken, 1]] = candidates[taken]


def _clipped(places: Places, looks: Looks) -> tuple[Places, NDArray[np.bool_]]:
    clipped = np.clip(places, 0, np.array(looks.usable.shape) - 1)
    return clipped, (clipped == places).all(1)


def _errors(looks: Looks, places: Places, wanted: Floats) -> Floats:
    return np.asarray(((looks.at(places) - wanted) ** 2).sum(1), np.float32)
