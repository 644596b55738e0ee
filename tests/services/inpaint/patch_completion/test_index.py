import numpy as np

from services.inpaint.patch_completion.descriptors import PaddedImage, centres_of, pad
from services.inpaint.patch_completion.index import NearestNeighbourField, PatchIndex

HEIGHT, WIDTH = 60, 80


def index_of(is_source: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> tuple[PatchIndex, PaddedImage]:
    values = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.float32)
    values[10:30, 10:30] = values[30:50, 50:70]
    padded, sources = pad(values), centres_of(is_source)
    return PatchIndex.build(padded, sources), padded


def right_half() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    is_source = np.zeros((HEIGHT, WIDTH), bool)
    is_source[3:-3, 40:-3] = True
    return is_source


def test_patch_match_finds_a_repeated_area() -> None:
    index, padded = index_of(right_half())
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[13:27, 13:27] = True
    targets, rng = centres_of(inside), np.random.default_rng(0)
    field = NearestNeighbourField(
        targets, index.nearest_sources(targets, padded.width), np.zeros(len(targets), np.float32)
    )
    for _ in range(4):
        index.patch_match(field, padded, rng, search_radius_px=80)
    assert (padded.coordinates(field.sources) - padded.coordinates(targets) == [20, 40]).all()


def test_patch_match_uses_sources_only_and_never_raises_costs() -> None:
    is_source = right_half() & (np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.2)
    index, padded = index_of(is_source)
    targets, rng = centres_of(~is_source), np.random.default_rng(0)
    field = NearestNeighbourField(
        targets, index.nearest_sources(targets, padded.width), np.zeros(len(targets), np.float32)
    )
    index.patch_match(field, padded, rng, search_radius_px=4)
    before = field.costs.copy()
    index.patch_match(field, padded, rng, search_radius_px=80)
    assert index.is_source[field.sources].all()
    assert (field.costs <= before).all()
    assert (field.costs < before).any()


def test_coherence_removes_single_shifts_and_keeps_sources() -> None:
    period, rng = 8, np.random.default_rng(0)
    tile = rng.integers(0, 256, (period, period, 3)).astype(np.float32)
    padded = pad(np.tile(tile, (HEIGHT // period + 1, WIDTH // period, 1))[:HEIGHT])
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[16:40, 8:32] = True
    index, targets = PatchIndex.build(padded, centres_of(right_half())), centres_of(inside)
    equal = (np.array([32, 40], np.int32)[rng.integers(0, 2, len(targets))]).astype(np.int32)
    field = NearestNeighbourField(targets, targets + equal, index.costs(targets + equal, targets))
    before = _disagreeing(field, padded)
    index.cohere(field, padded, penalty=0.1)
    assert _disagreeing(field, padded) < before / 2
    assert index.is_source[field.sources].all()
    assert field.costs.max() < 1


def test_coherence_keeps_sources_that_are_far_better() -> None:
    index, padded = index_of(right_half())
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[13:27, 13:27] = True
    targets = centres_of(inside)
    best = targets + np.int32(20 * padded.width + 40)
    sources = best.copy()
    sources[::7] = targets[::7] + np.int32(10 * padded.width + 40)
    field = NearestNeighbourField(targets, sources, index.costs(sources, targets))
    index.cohere(field, padded, penalty=1.0)
    assert np.array_equal(field.sources, best)


def _disagreeing(field: NearestNeighbourField, padded: PaddedImage) -> int:
    """Returns the number of pairs of targets, side by side, with different shifts."""
    shifts = dict(zip(field.targets.tolist(), (field.sources - field.targets).tolist(), strict=True))
    return sum(shifts[at] != shifts.get(at + step, shifts[at]) for at in shifts for step in (1, padded.width))


def test_nearest_sources() -> None:
    is_source = np.zeros((HEIGHT, WIDTH), bool)
    is_source[10, 10] = is_source[10, 60] = True
    index, padded = index_of(is_source)
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[12, 20] = wanted[10, 60] = wanted[40, 50] = True
    found = padded.coordinates(index.nearest_sources(centres_of(wanted), padded.width)) - 3
    assert found.tolist() == [[10, 60], [10, 10], [10, 60]]
