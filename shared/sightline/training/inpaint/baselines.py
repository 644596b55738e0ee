"""Classical inpainting to be measured against."""

from collections.abc import Callable

import cv2
import numpy as np
from skimage.restoration import inpaint_biharmonic

from sightline.training.photos import Picture

Filler = Callable[[Picture, Picture], Picture]
RADIUS_PX = 3


def telea(picture: Picture, hole: Picture) -> Picture:
    """Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004."""
    return np.asarray(cv2.inpaint(picture, hole, RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


def navier_stokes(picture: Picture, hole: Picture) -> Picture:
    """Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting", 2001."""
    return np.asarray(cv2.inpaint(picture, hole, RADIUS_PX, cv2.INPAINT_NS), np.uint8)


def biharmonic(picture: Picture, hole: Picture) -> Picture:
    """Damelin and Hoang, "On Surface Completion and Image Inpainting by Biharmonic Functions", 2018."""
    holed = picture * (1 - hole)[..., None]
    filled = inpaint_biharmonic(holed, hole.astype(bool), channel_axis=2)
    return np.asarray((np.clip(filled, 0, 1) * 255).round(), np.uint8)


BASELINES: dict[str, Filler] = {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic}
