import numpy as np

from services.inpaint.patch_completion.descriptors import PaddedImage, PatchDescriptor, centres_of, pad
from services.inpaint.patch_completion.index import NearestNeighbourField, PatchIndex

HEIGHT, WIDTH = 60, 80


def index_of(is_source: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> tuple[PatchIndex, PaddedImage]:
    values = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.float32)
    values[10:30, 10:30] = values[30:50, 50:70]
    padded, sources = pad(values), centres_of(is_source)
    return PatchIndex.build(PatchDescriptor.fit(padded, sources), padded, sources), padded


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


def test_nearest_sources() -> None:
    is_source = np.zeros((HEIGHT, WIDTH), bool)
    is_source[10, 10] = is_source[10, 60] = True
    index, padded = index_of(is_source)
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[12, 20] = wanted[10, 60] = wanted[40, 50] = True
    found = padded.coordinates(index.nearest_sources(centres_of(wanted), padded.width)) - 3
    assert found.tolist() == [[10, 60], [10, 10], [10, 60]]
