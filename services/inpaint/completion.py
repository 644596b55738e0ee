"""Large holes filled with patches of what is known, coarse to fine, after what a network guesses."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats, Pixels
from services.inpaint.patches import RADIUS_PX, Plane, Spots, border, spots_of, train
from services.inpaint.peeling import Shifts, peel
from services.inpaint.scenes import COLOURS, Flags, Scene, halve_scene, make_scene
from services.inpaint.search import Field, Gallery, hang
from services.inpaint.voting import trust, vote

SMALLEST_PX = 40  # longer side at which patches are as large as whole things
PEELED_PX = 5  # depth up to which guesses from the rim agree in the middle
OFFERED_SHARE = 0.3  # of the known pixels, amid known patches; with fewer, whole kinds of surroundings are not on offer
FEWEST_SOURCES = 100  # known patches, fewer would show as repetition
ROUNDS_FIRST, ROUNDS_NEXT = 8, 3  # the first decide on structure, the next refine it
WIDE_ROUNDS = 2  # that look all over the picture; those after them look nearby


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """values: (h, w, 3) colours in 0..255 with the holes filled; hole: (h, w); shifts: also of pixels whose patches
    reach into holes, always to the middle of a patch that is known and in the picture."""

    values: Floats
    hole: Flags
    shifts: Shifts


def complete(guess: Pixels, hole: Flags) -> Generator[float, None, Completion | None]:
    """Fill the holes (h, w) of a picture by patches of the rest, yielding the share of the work that is done.

    guess: (h, w, 3) with the holes filled. The result is None where hardly any patch is known.
    Space-time completion (Wexler et al. 2007), begun like Newson et al. (2014).
    """
    scenes = _scenes(guess, hole)
    if not scenes:
        return None
    rng, total = np.random.default_rng(0), sum(each.hole.size for each in scenes)
    scene, rounds, done = scenes.pop(), ROUNDS_FIRST, 0
    settling = _begin(scene, peel(scene))
    while True:
        for turn in range(rounds):
            yield (done + scene.hole.size * turn / rounds) / total
            settling.settle(rng, wide=turn < WIDE_ROUNDS)
        if not scenes:
            return Completion(settling.plane.inner()[..., :COLOURS], scene.hole, settling.shifts(scene))
        done += scene.hole.size
        scene, shifts, rounds = scenes.pop(), settling.shifts(scene), ROUNDS_NEXT
        settling = _begin(scene, _double(shifts, scene.hole.shape))


def _scenes(guess: Pixels, hole: Flags) -> list[Scene]:
    """From full size down to where the holes are shallow, as far as enough patches are known."""
    scenes = [make_scene(guess, hole)]
    while scenes[-1].longer_px > 2 * SMALLEST_PX and scenes[-1].depth_px().max() > PEELED_PX:
        scenes.append(halve_scene(scenes[-1]))
    while len(scenes) > 1 and _offered(scenes[-1]) < OFFERED_SHARE * np.count_nonzero(~scenes[-1].hole):
        scenes.pop()
    return scenes if _offered(scenes[-1]) >= FEWEST_SOURCES else []


def _offered(scene: Scene) -> int:
    return int(np.count_nonzero(scene.known_patches()))


@dataclass(frozen=True, slots=True, eq=False)
class _Settling:
    """Expectation and maximisation in turns: which patches are alike, and what they make of the holes."""

    plane: Plane
    inside: Spots
    gallery: Gallery
    field: Field
    trusted: Floats

    def settle(self, rng: np.random.Generator, *, wide: bool) -> None:
        reach_px = max(self.plane.height, self.plane.width)
        self.gallery.improve(self.field, self.plane, rng, reach_px=reach_px if wide else reach_px // 8)
        vote(self.plane, self.inside, self.field, self.trusted)

    def shifts(self, scene: Scene) -> Shifts:
        shifts = np.zeros((*scene.hole.shape, 2), np.int32)
        shifts[scene.holed_patches()] = self.plane.places(self.field.sources) - self.plane.places(self.field.targets)
        return shifts


def _begin(scene: Scene, shifts: Shifts) -> _Settling:
    plane, near = border(scene.values), scene.holed_patches()
    sources, targets, inside = spots_of(scene.known_patches()), spots_of(near), spots_of(scene.hole)
    gallery = hang(train(plane, sources), plane, sources)
    begun = gallery.nearest(_shifted(plane, targets, shifts[near]), plane.width)
    field = Field(targets, begun, np.zeros(len(targets), np.float32))
    trusted = trust(scene.depth_px()[near])
    vote(plane, inside, field, trusted)
    return _Settling(plane, inside, gallery, field, trusted)


def _shifted(plane: Plane, spots: Spots, shifts: NDArray[np.int32]) -> Spots:
    last = np.array([plane.height, plane.width]) - 1 - RADIUS_PX
    places = np.clip(plane.places(spots) + shifts, RADIUS_PX, last)
    return np.asarray(places[:, 0] * plane.width + places[:, 1], np.int32)


def _double(shifts: Shifts, shape: tuple[int, ...]) -> Shifts:
    rows, columns = np.arange(shape[0]) // 2, np.arange(shape[1]) // 2
    return np.asarray(shifts[rows][:, columns] * 2, np.int32)
