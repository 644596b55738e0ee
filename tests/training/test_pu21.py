import numpy as np

from sightline.training.pu21 import pu21, pu21_psnr_db


def test_the_encoding_is_its_authors() -> None:
    # 0 at the dimmest and 595.39 at the brightest that it covers, 256 at 100 cd/m2.
    np.testing.assert_allclose(pu21(np.array([0.005, 100, 10_000])), [0, 256.4, 595.39], atol=0.05)


def test_a_stop_counts_more_in_the_light_than_in_the_dark() -> None:
    dark, _, light = np.diff(pu21(np.array([0.01, 0.02, 50, 100])))

    assert light > 10 * dark


def test_equal_scenes_are_infinitely_alike_and_a_stop_is_not() -> None:
    truth = np.random.default_rng(0).uniform(0.01, 4, (8, 8, 3))

    assert pu21_psnr_db(truth, truth) == float("inf")
    assert pu21_psnr_db(1.1 * truth, truth) > pu21_psnr_db(2 * truth, truth) > 10


def test_above_what_it_covers_nothing_counts() -> None:
    assert pu21_psnr_db(np.array([200.0]), np.array([150.0])) == float("inf")
