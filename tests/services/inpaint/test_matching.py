import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.inpaint.matching import Looks, match


def looks(rows: int, columns: int, *, seed: int = 0) -> Looks:
    features = np.random.default_rng(seed).random((rows, columns, 24), np.float32) * 255
    return Looks(features, np.ones((rows, columns), bool))


def test_same_look_is_found() -> None:
    here = looks(21, 31)
    here.features[4, 6] = here.features[10, 13]
    here.usable[:8, :10] = False
    assert match(here, np.array([[4, 6]])).tolist() == [[10, 13]]


def test_nearer_one_of_two_equals_is_preferred() -> None:
    here = looks(41, 41)
    here.features[2, 2] = here.features[8, 8] = here.features[36, 36]
    here.usable[:4, :4] = False
    assert match(here, np.array([[2, 2]])).tolist() == [[8, 8]]


def test_neighbours_go_on_in_the_same_place() -> None:
    here = looks(40, 40)
    here.usable[:12, :12] = False
    here.features[2:8, 2:8] = here.features[20:26, 24:30]
    targets = np.argwhere(np.ones((3, 3), bool)) * 2 + 2
    assert (match(here, targets) - targets == [18, 22]).all()


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_sources_are_always_usable(rows: int, columns: int, seed: int) -> None:
    here = looks(rows, columns, seed=seed)
    rng = np.random.default_rng(seed)
    here.usable[:] = rng.random((rows, columns)) < 0.3
    here.usable[rng.integers(rows), rng.integers(columns)] = True
    targets = np.argwhere(rng.random(((rows + 1) // 2, (columns + 1) // 2)) < 0.5) * 2
    if len(targets):
        found = match(here, targets)
        assert here.usable[found[:, 0], found[:, 1]].all()
