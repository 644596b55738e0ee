"""Inpainting methods as functions on pictures: classical ones, the exported network, and the service."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from skimage.restoration import inpaint_biharmonic

from sightline.api.media_types import PNG
from sightline.training.photos import Picture
from sightline.training.served_model import ServedModel, encode_png

Filler = Callable[[Picture, Picture], Picture]
RADIUS_PX = 3


def telea(picture: Picture, hole: Picture) -> Picture:
    """The picture inpainted by Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004."""
    return np.asarray(cv2.inpaint(picture, hole, RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


def navier_stokes(picture: Picture, hole: Picture) -> Picture:
    """The picture inpainted by Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, Fluid Dynamics, and Image and Video
    Inpainting", 2001."""
    return np.asarray(cv2.inpaint(picture, hole, RADIUS_PX, cv2.INPAINT_NS), np.uint8)


def biharmonic(picture: Picture, hole: Picture) -> Picture:
    """The picture inpainted by Damelin and Hoang, "On Surface Completion and Image Inpainting by Biharmonic Functions",
    2018."""
    holed = picture * (1 - hole)[..., None]
    filled = inpaint_biharmonic(holed, hole.astype(bool), channel_axis=2)
    return np.asarray((np.clip(filled, 0, 1) * 255).round(), np.uint8)


BASELINES: dict[str, Filler] = {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic}


class OnnxFiller:
    """One pass of inpaint.onnx over a picture whose sides are multiples of the file's stride."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, picture: Picture, hole: Picture) -> Picture:
        feeds = {"image": picture[None], "mask": hole[None, ..., None]}
        filled = np.asarray(self.session.run(None, feeds)[0])[0]
        return np.asarray(cv2.convertScaleAbs(filled, alpha=255), np.uint8)


@dataclass(frozen=True, slots=True)
class ServiceFiller:
    """Fills with what the service adds around the network."""

    model: ServedModel

    def __call__(self, picture: Picture, hole: Picture) -> Picture:
        files = {"image": encode_png(picture), "mask": encode_png(hole * 255)}
        filled = np.frombuffer(self.model(files, PNG), np.uint8)
        return np.asarray(cv2.imdecode(filled, cv2.IMREAD_COLOR_RGB), np.uint8)
