import imagecodecs
import numpy as np
import pytest

from sightline.imaging.containers import icc
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import ICC_IGNORED
from tests.imaging import hostile

LIMITS = PixelLimits(64 << 20, 100_000_000)


@pytest.mark.parametrize("name", ["srgb", "adobergb", "gray", "null", "lab2", "xyz"])
def test_ordinary_profiles_are_cheap(name: str) -> None:
    try:
        profile = bytes(imagecodecs.cms_profile(name))
    except (RuntimeError, ValueError):
        pytest.skip("this profile is not built in")
    assert icc.has_bounded_cost(profile)


@pytest.mark.parametrize(("elements", "used"), [(3, True), (16, True), (17, False), (25_000, False)])
def test_long_chains_are_ignored(elements: int, used: bool) -> None:
    picture = decode(hostile.png_with_profile(hostile.profile_with_chain(elements)), LIMITS)
    assert (ICC_IGNORED not in picture.notes) == used
    assert not picture.pixels.any()


@pytest.mark.parametrize(("points", "used"), [(1024, True), (4096, True), (1_000_000, False)])
def test_long_curves_are_ignored(points: int, used: bool) -> None:
    picture = decode(hostile.png_with_profile(hostile.profile_with_curves(points)), LIMITS)
    assert (ICC_IGNORED not in picture.notes) == used


def test_broken_tables_are_not_cheap() -> None:
    profile = bytes(imagecodecs.cms_profile("srgb"))
    assert not icc.has_bounded_cost(profile[:130])
    assert not icc.has_bounded_cost(b"")


def test_any_bytes_are_judged() -> None:
    random = np.random.default_rng(0)
    profile = bytearray(hostile.profile_with_chain(5))
    for _ in range(300):
        damaged = profile.copy()
        for place in random.integers(128, len(profile), 4):
            damaged[place] = random.integers(0, 256)
        icc.has_bounded_cost(bytes(damaged))
