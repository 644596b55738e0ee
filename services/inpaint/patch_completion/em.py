"""Expectation maximisation over a pyramid: search for nearest patches and voting in turns (Wexler et al. 2007)."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.patch_completion.descriptors import (
    PATCH_RADIUS_PX,
    Centres,
    PaddedImage,
    centres_of,
    pad,
)
from services.inpaint.patch_completion.index import NearestNeighbourField, PatchIndex
from services.inpaint.patch_completion.onion_peel import ShiftMap, onion_peel
from services.inpaint.patch_completion.texture_features import (
    COLOUR_CHANNELS,
    FeatureImage,
    Mask,
    extract_features,
    halve_features,
)
from services.inpaint.patch_completion.voting import confidence, vote
from services.inpaint.pyramid import Floats, Pixels, PyramidLevel

MIN_LEVEL_SIDE_PX = 40  # longer side at which patches are as large as whole objects
MAX_PEELED_DEPTH_PX = 5  # depth up to which the layers of the onion agree in the middle
# Share of the known pixels that are centres of source patches: with fewer, whole kinds of surroundings are missing.
MIN_SOURCE_SHARE = 0.3
MIN_SOURCES = 100  # fewer source patches show as repetition
COARSEST_ITERATIONS, FINER_ITERATIONS = 8, 3  # the coarsest level decides on structure, the others refine it
REFINING_ITERATIONS, REFINING_RADIUS_PX, REFINING_STEPS_PX = 2, 4, (1,)  # of levels above the size of the guess
# Penalty for every neighbour that copies from elsewhere, in costs of targets at such a percentile; more repeats pieces.
COHERENCE, TYPICAL_COST_PERCENTILE = 0.5, 75
GLOBAL_SEARCH_ITERATIONS = 2  # of a level; its further iterations search near the present sources


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """An image with its holes completed.

    values: (h, w, 3) colours in 0..255; hole: (h, w); shifts: of the centres of all target patches, always to the
    centre of a source patch.
    """

    values: Floats
    hole: Mask
    shifts: ShiftMap


def complete_holes(
    guess: Pixels, hole: Mask, finer: Sequence[PyramidLevel] = ()
) -> Generator[float, None, Completion | None]:
    """Completes the holes (h, w) with patches of the rest, and yields the share of the work that is done.

    guess: (h, w, 3) with the holes filled by a coarser method; finer: levels of twice the size each, at the last of
    which the completion is returned. Returns None if there are too few source patches.
    """
    levels = _feature_pyramid(guess, hole)
    if not levels:
        return None
    total = sum(each.hole.size for each in levels) + sum(each.hole.size for each in finer)
    rng = np.random.default_rng(0)
    level, iterations, done = levels.pop(), COARSEST_ITERATIONS, 0
    state = _initial_state(level, onion_peel(level))
    while True:
        for iteration in range(iterations):
            yield (done + level.hole.size * iteration / iterations) / total
            state.em_step(rng, search_globally=iteration < GLOBAL_SEARCH_ITERATIONS)
        if not levels:
            break
        done += level.hole.size
        level, shifts, iterations = levels.pop(), state.shift_map(level), FINER_ITERATIONS
        state = _initial_state(level, _upsample(shifts, level.hole.shape))
    for fine in finer:
        yield done / total
        done += fine.hole.size
        shifts, level = state.shift_map(level), _refined_features(fine, state.padded.unpad()[..., :COLOUR_CHANNELS])
        state = _initial_state(level, _upsample(shifts, level.hole.shape))
        for _ in range(REFINING_ITERATIONS):
            state.refine(rng)
    return Completion(state.padded.unpad()[..., :COLOUR_CHANNELS], level.hole, state.shift_map(level))


def _refined_features(level: PyramidLevel, coarse: Floats) -> FeatureImage:
    height, width = level.size
    doubled = cv2.resize(coarse, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[:height, :width]
    guess = np.where(level.hole[..., None] == 1, np.clip(np.rint(doubled), 0, 255).astype(np.uint8), level.pixels)
    return extract_features(guess, level.hole == 1)


def _feature_pyramid(guess: Pixels, hole: Mask) -> list[FeatureImage]:
    """Returns levels from full size down to shallow holes, as far as each has enough source patches."""
    levels = [extract_features(guess, hole)]
    while levels[-1].longer_side_px > 2 * MIN_LEVEL_SIDE_PX and levels[-1].hole_depth_px().max() > MAX_PEELED_DEPTH_PX:
        levels.append(halve_features(levels[-1]))
    while len(levels) > 1 and _source_count(levels[-1]) < MIN_SOURCE_SHARE * np.count_nonzero(~levels[-1].hole):
        levels.pop()
    return levels if _source_count(levels[-1]) >= MIN_SOURCES else []


def _source_count(level: FeatureImage) -> int:
    return int(np.count_nonzero(level.source_mask()))


@dataclass(frozen=True, slots=True, eq=False)
class _EmState:
    """State of one level; hole: its hole pixels in the padded image; confidences: (n,) of the field's targets."""

    padded: PaddedImage
    hole: Centres
    index: PatchIndex
    field: NearestNeighbourField
    confidences: Floats

    def em_step(self, rng: np.random.Generator, *, search_globally: bool) -> None:
        """Updates the nearest-neighbour field (E step), then the colours in holes (M step)."""
        side_px = max(self.padded.height, self.padded.width)
        radius_px = side_px if search_globally else side_px // 8
        self.index.update(self.padded, self.field.targets)
        self.index.patch_match(self.field, self.padded, rng, search_radius_px=radius_px)
        self._cohere()
        vote(self.padded, self.hole, self.field, self.confidences)

    def refine(self, rng: np.random.Generator) -> None:
        """Corrects shifts by a few pixels, as those of a coarser level are exact to its pixels only."""
        self.index.update(self.padded, self.field.targets)
        self.index.patch_match(
            self.field, self.padded, rng, search_radius_px=REFINING_RADIUS_PX, propagation_steps_px=REFINING_STEPS_PX
        )
        self._cohere()
        vote(self.padded, self.hole, self.field, self.confidences)

    def _cohere(self) -> None:
        typical_cost = np.percentile(self.field.costs, TYPICAL_COST_PERCENTILE) + 1
        self.index.cohere(self.field, self.padded, penalty=float(COHERENCE * typical_cost))

    def shift_map(self, level: FeatureImage) -> ShiftMap:
        """Returns the shifts of the target patches, 0 elsewhere."""
        shifts = np.zeros((*level.hole.shape, 2), np.int32)
        sources, targets = (self.padded.coordinates(each) for each in (self.field.sources, self.field.targets))
        shifts[level.target_mask()] = sources - targets
        return shifts


def _initial_state(level: FeatureImage, shifts: ShiftMap) -> _EmState:
    padded, target_mask = pad(level.values), level.target_mask()
    sources, targets, hole = centres_of(level.source_mask()), centres_of(target_mask), centres_of(level.hole)
    index = PatchIndex.build(padded, sources)
    initial = index.nearest_sources(_shifted(padded, targets, shifts[target_mask]), padded.width)
    field = NearestNeighbourField(targets, initial, np.zeros(len(targets), np.float32))
    confidences = confidence(level.hole_depth_px()[target_mask])
    vote(padded, hole, field, confidences)
    return _EmState(padded, hole, index, field, confidences)


def _shifted(padded: PaddedImage, centres: Centres, shifts: NDArray[np.int32]) -> Centres:
    last = np.array([padded.height, padded.width]) - 1 - PATCH_RADIUS_PX
    coordinates = np.clip(padded.coordinates(centres) + shifts, PATCH_RADIUS_PX, last)
    return np.asarray(coordinates[:, 0] * padded.width + coordinates[:, 1], np.int32)


def _upsample(shifts: ShiftMap, shape: tuple[int, ...]) -> ShiftMap:
    rows, columns = np.arange(shape[0]) // 2, np.arange(shape[1]) // 2
    return np.asarray(shifts[rows][:, columns] * 2, np.int32)
