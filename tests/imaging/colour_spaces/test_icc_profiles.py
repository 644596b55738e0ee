import numpy as np

from sightline.imaging.colour_spaces.icc_profiles import MAX_PROFILE_BYTES, ColourSpace, is_srgb, to_srgb, usable


def test_a_profile_serves_its_own_space_only(
    wide_profile: bytes, grey_profile: bytes, cmyk_profile: bytes, srgb_profile: bytes
) -> None:
    profiles = {ColourSpace.RGB: wide_profile, ColourSpace.GREY: grey_profile, ColourSpace.CMYK: cmyk_profile}
    for space, profile in profiles.items():
        assert [other for other in ColourSpace if usable(profile, other)] == [space]
    assert usable(srgb_profile, ColourSpace.RGB)


def test_rubbish_and_giants_serve_none(wide_profile: bytes) -> None:
    for profile in (b"", b"rubbish", wide_profile[:200], wide_profile + bytes(MAX_PROFILE_BYTES)):
        assert not usable(profile, ColourSpace.RGB)


def test_knows_srgb(srgb_profile: bytes, wide_profile: bytes) -> None:
    assert is_srgb(srgb_profile)
    assert not is_srgb(wide_profile)


def test_grey_tones_are_grey_in_srgb(grey_profile: bytes) -> None:
    tones = np.arange(256, dtype=np.uint8).reshape(1, -1)
    rgb = to_srgb(tones, grey_profile, ColourSpace.GREY)
    assert rgb.shape == (1, 256, 3)
    assert np.ptp(rgb.astype(int), axis=-1).max() <= 1
    assert (np.diff(rgb[0, :, 1].astype(int)) >= 0).all()
