import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inpaint.patch_completion.onion_peel import onion_peel
from services.inpaint.patch_completion.texture_features import extract_features


def test_onion_peel_continues_stripes() -> None:
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, np.arange(48) % 6 < 3] = 200
    hole = np.zeros((40, 48), bool)
    hole[14:26, 18:30] = True
    guess = np.where(hole[..., None], np.uint8(100), pixels)
    shifts = onion_peel(extract_features(guess, hole))
    rows, columns = np.nonzero(hole)
    copied = guess[rows + shifts[hole][:, 0], columns + shifts[hole][:, 1]]
    assert (copied == pixels[hole]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(12, 40), st.integers(12, 40), st.integers(0, 2**32 - 1))
def test_onion_peel_copies_from_source_patches_only(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < 0.3
    hole[:7, :7] = False
    scene = extract_features(rng.integers(0, 256, (height, width, 3), np.uint8), hole)
    shifts = onion_peel(scene)
    rows, columns = np.nonzero(hole)
    assert scene.source_mask()[rows + shifts[hole][:, 0], columns + shifts[hole][:, 1]].all()
    assert not shifts[~hole].any()
