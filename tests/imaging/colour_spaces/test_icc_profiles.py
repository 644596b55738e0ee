import imagecodecs
import numpy as np
import pytest

from sightline.imaging.colour_spaces.icc_profiles import (
    MAX_PROFILE_BYTES,
    ColourSpace,
    has_bounded_cost,
    is_srgb,
    is_usable,
    to_srgb,
)
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import ICC_IGNORED
from tests.imaging import hostile

LIMITS = PixelLimits(64 << 20, 100_000_000)


def test_profile_is_usable_for_its_own_space_only(
    wide_profile: bytes, grey_profile: bytes, cmyk_profile: bytes, srgb_profile: bytes
) -> None:
    profiles = {ColourSpace.RGB: wide_profile, ColourSpace.GREY: grey_profile, ColourSpace.CMYK: cmyk_profile}
    for space, profile in profiles.items():
        assert [other for other in ColourSpace if is_usable(profile, other)] == [space]
    assert is_usable(srgb_profile, ColourSpace.RGB)


def test_invalid_and_huge_profiles_are_unusable(wide_profile: bytes) -> None:
    for profile in (b"", b"rubbish", wide_profile[:200], wide_profile + bytes(MAX_PROFILE_BYTES)):
        assert not is_usable(profile, ColourSpace.RGB)


def test_is_srgb_recognises_the_profile(srgb_profile: bytes, wide_profile: bytes) -> None:
    assert is_srgb(srgb_profile)
    assert not is_srgb(wide_profile)


def test_grey_profile_gives_grey_srgb(grey_profile: bytes) -> None:
    tones = np.arange(256, dtype=np.uint8).reshape(1, -1)
    rgb = to_srgb(tones, grey_profile, ColourSpace.GREY)
    assert rgb.shape == (1, 256, 3)
    assert np.ptp(rgb.astype(int), axis=-1).max() <= 1
    assert (np.diff(rgb[0, :, 1].astype(int)) >= 0).all()


@pytest.mark.parametrize("name", ["srgb", "adobergb", "gray", "null", "lab2", "xyz"])
def test_common_profiles_have_bounded_cost(name: str) -> None:
    try:
        profile = bytes(imagecodecs.cms_profile(name))
    except (RuntimeError, ValueError):
        pytest.skip("this profile is not built in")
    assert has_bounded_cost(profile)


@pytest.mark.parametrize(("elements", "used"), [(3, True), (16, True), (17, False), (25_000, False)])
def test_profiles_of_long_transforms_are_ignored(elements: int, used: bool) -> None:
    picture = decode(hostile.png_with_profile(hostile.profile_with_chain(elements)), LIMITS)
    assert (ICC_IGNORED not in picture.notes) == used
    assert not picture.pixels.any()


@pytest.mark.parametrize(("points", "used"), [(1024, True), (4096, True), (1_000_000, False)])
def test_profiles_of_long_curves_are_ignored(points: int, used: bool) -> None:
    picture = decode(hostile.png_with_profile(hostile.profile_with_curves(points)), LIMITS)
    assert (ICC_IGNORED not in picture.notes) == used


def test_truncated_profiles_have_unbounded_cost() -> None:
    profile = bytes(imagecodecs.cms_profile("srgb"))
    assert not has_bounded_cost(profile[:130])
    assert not has_bounded_cost(b"")


def test_damaged_profiles_raise_no_error() -> None:
    random = np.random.default_rng(0)
    profile = bytearray(hostile.profile_with_chain(5))
    for _ in range(300):
        damaged = profile.copy()
        for place in random.integers(128, len(profile), 4):
            damaged[place] = random.integers(0, 256)
        has_bounded_cost(bytes(damaged))
