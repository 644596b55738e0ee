"""Inpainting methods as functions on pictures: classical ones, the exported network, and a running service."""

from collections.abc import Callable
from pathlib import Path

import cv2
import httpx2
import numpy as np
import onnxruntime
from skimage.restoration import inpaint_biharmonic

from sightline.api.declaration import route_of
from sightline.training.photos import Picture

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


class ServiceFiller:
    """A running fleet over HTTP."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, timeout=60, headers={"Accept": "image/png"})

    def __call__(self, picture: Picture, hole: Picture) -> Picture:
        files = {"image": _png(picture[..., ::-1]), "mask": _png(hole * 255)}
        reply = self.client.post(route_of("inpaint"), files=files).raise_for_status()
        return np.asarray(cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def _png(pixels: Picture) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()
