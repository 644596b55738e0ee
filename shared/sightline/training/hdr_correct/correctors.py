"""The exported network and a running service as functions on pictures, like the classical methods."""

from pathlib import Path

import cv2
import httpx2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sightline.api.declaration import route_of
from sightline.training.photos import Picture

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


class Service:
    """A running fleet over HTTP; calling it returns the body of its reply."""

    def __init__(self, url: str, media_type: str) -> None:
        self.client = httpx2.Client(base_url=url, timeout=60, headers={"Accept": media_type})

    def __call__(self, photo: Picture) -> bytes:
        png = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
        return self.client.post(route_of("hdr_correct"), files={"image": png}).raise_for_status().content


class ServiceCorrector:
    """The corrected photo from a running fleet."""

    def __init__(self, url: str) -> None:
        self.service = Service(url, "image/png")

    def __call__(self, photo: Picture) -> Picture:
        encoded = np.frombuffer(self.service(photo), np.uint8)
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)
