import numpy as np

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb


def test_decode_srgb_on_both_segments() -> None:
    assert np.allclose(decode_srgb(np.array([0, 0.04, 0.5, 1], np.float32)), [0, 0.0030960, 0.2140411, 1], atol=1e-6)


def test_encode_srgb_inverts_decode_srgb() -> None:
    ramp = np.linspace(0, 1, 1000)

    np.testing.assert_allclose(encode_srgb(decode_srgb(ramp)), ramp, atol=1e-5)
