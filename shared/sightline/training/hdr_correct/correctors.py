"""The exported network and the service as functions on pictures, like the classical methods."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sightline.api.media_types import PNG
from sightline.training.photos import Picture
from sightline.training.served_model import ServedModel, encode_png

NETWORK_PX = 64
"""Side of the small copy that the networks are made for."""


class OnnxNetwork:
    """hdr_correct.onnx on a small copy of a photo; its output is enlarged to the photo's size."""

    def __init__(self, path: Path, output: str) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.output = output

    def __call__(self, photo: Picture) -> NDArray[np.float32]:
        small = cv2.resize(photo, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_AREA)
        output = np.asarray(self.session.run([self.output], {"photo": small[None]})[0])[0]
        return np.asarray(cv2.resize(output, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)


class OnnxCorrector:
    """The networks' small corrected photo, enlarged, without fine texture."""

    def __init__(self, path: Path) -> None:
        self.network = OnnxNetwork(path, "corrected")

    def __call__(self, photo: Picture) -> Picture:
        return np.asarray(cv2.convertScaleAbs(np.clip(self.network(photo), 0, 1), alpha=255), np.uint8)


@dataclass(frozen=True, slots=True)
class ServiceCorrector:
    """The corrected photo from the service."""

    model: ServedModel

    def __call__(self, photo: Picture) -> Picture:
        corrected = np.frombuffer(self.model({"image": encode_png(photo)}, PNG), np.uint8)
        return np.asarray(cv2.imdecode(corrected, cv2.IMREAD_COLOR_RGB), np.uint8)
