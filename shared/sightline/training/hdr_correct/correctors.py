"""What is shipped as functions on pictures, like the classical methods: the network alone, and the service."""

from pathlib import Path

import cv2
import httpx2
import numpy as np
import onnxruntime

from sightline.api.routes import route_of
from sightline.training.photos import Picture


class OnnxCorrector:
    """One pass of hdr_correct.onnx over a picture whose sides are multiples of the file's stride."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, photo: Picture) -> Picture:
        corrected = np.asarray(self.session.run(["corrected"], {"photo": photo[None]})[0])[0]
        return np.asarray(cv2.convertScaleAbs(corrected, alpha=255), np.uint8)


class ServiceCorrector:
    """A running fleet, asked as its users ask it."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, timeout=60, headers={"Accept": "image/png"})

    def __call__(self, photo: Picture) -> Picture:
        png = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
        reply = self.client.post(route_of("hdr_correct"), files={"image": png}).raise_for_status()
        return np.asarray(cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
