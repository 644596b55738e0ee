import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.training.inpaint.masks import BUCKETS, irregular_mask


@given(st.integers(0, 2**32), st.sampled_from(BUCKETS), st.sampled_from([64, 128]))
def test_mask_share_is_inside_the_bucket(seed: int, bucket: tuple[float, float], size_px: int) -> None:
    mask = irregular_mask(np.random.default_rng(seed), size_px, bucket)

    assert mask.shape == (size_px, size_px)
    assert set(np.unique(mask)) == {0, 1}
    assert bucket[0] <= mask.mean() <= bucket[1]


def test_holes_keep_away_from_the_border() -> None:
    mask = irregular_mask(np.random.default_rng(0), 128, (0.3, 0.4), border_px=12)

    assert mask[12:-12, 12:-12].sum() == mask.sum() > 0


def test_unreachable_mask_share_is_refused() -> None:
    with pytest.raises(ValueError, match="border of 30 px"):
        irregular_mask(np.random.default_rng(0), 64, (0.5, 0.6), border_px=30)
