"""The scene where the photo itself shows it: its own light, but for the exposure, and guesses where it is clipped."""

import numpy as np

from services.hdr_correct.floats import Floats
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb

SURE, CLIPPED = 0.9, 0.985
"""Of the brightest channel in sRGB: up to where a camera is trusted, and from where nothing is known."""


def anchor(shown: Floats, guess: Floats, ev_error: float | None, *, withheld: float = 0.0) -> Floats:
    """The scene (h, w, 3) in linear light, from the photo in sRGB 0..1 and the networks' guess in linear light.

    ev_error: median of the stops from the guess to the photo; `withheld` of them, 0..1, are not believed. Without it
    the photo shows nothing, and the guess is all there is.
    """
    if ev_error is None:
        return guess
    known = decode_srgb(shown) * np.float32(2 ** (-ev_error * (1 - withheld)))
    guessed = guess * np.float32(2 ** (ev_error * withheld))
    share = np.clip((shown.max(axis=2, keepdims=True) - SURE) / (CLIPPED - SURE), 0, 1)
    # What is clipped is at least as bright as it looks.
    return np.asarray(known + share * (np.maximum(guessed, known) - known), np.float32)
