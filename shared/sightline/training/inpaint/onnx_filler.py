"""The exported network as a function on pictures, like the classical methods."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from sightline.training.inpaint.baselines import Picture


class OnnxFiller:
    """One pass of inpaint.onnx over a picture whose sides are multiples of the file's stride."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, picture: Picture, hole: Picture) -> Picture:
        feeds = {"image": picture[None], "mask": hole[None, ..., None]}
        filled = np.asarray(self.session.run(None, feeds)[0])[0]
        return np.asarray(cv2.convertScaleAbs(filled, alpha=255), np.uint8)
