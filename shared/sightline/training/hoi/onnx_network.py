"""The two exported files in use, one picture at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.networks.interactnet import Interactions
from sightline.training.hoi.data import canvas, laid_on_canvas
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.predictions import Boxes
from sightline.training.hoi.sessions import cpu_session
from sightline.training.hoi.store import fitted, resized
from sightline.training.hoi.verbs import COCO_CLASSES
from sightline.training.photos import Picture

LEVELS = ("p3", "p4", "p5")
Levels = Mapping[str, NDArray[np.float32]]


class OnnxInteractNet:
    """`look(picture)`: detections in the pixels of the picture at the network's size, and the levels they come from."""

    def __init__(self, folder: Path, longest_px: int, *, threads: int = 1) -> None:
        self.detector, self.interactions = (
            cpu_session(folder / name, threads=threads) for name in ("detector.onnx", "interactions.onnx")
        )
        self.longest_px = longest_px

    def look(self, picture: Picture, size: tuple[int, int]) -> tuple[Detections, Levels]:
        """`size` is the width and height of the photo, which the file may have been squashed from."""
        laid = self.laid(picture, size)
        image = np.ascontiguousarray(laid.transpose(2, 0, 1)[None], np.float32)
        boxes, scores, labels, *levels = self.detector.run(["boxes", "scores", "labels", *LEVELS], {"image": image})
        return Detections(boxes, labels, scores), dict(zip(LEVELS, levels, strict=True))

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the picture as the network sees it."""
        return fitted(size, self.longest_px)

    def laid(self, picture: Picture, size: tuple[int, int]) -> Picture:
        fitting = resized(picture, size, self.longest_px)
        return laid_on_canvas(fitting, canvas(fitting.shape[:2], self.longest_px))

    def interact(self, levels: Levels, seen: Boxes) -> Interactions:
        scores = torch.nn.functional.one_hot(seen.labels, len(COCO_CLASSES)) * seen.scores[:, None]
        boxes = {"people": seen.boxes[seen.people].numpy(), "objects": seen.boxes.numpy()}
        feeds = {**levels, **boxes, "object_scores": scores.numpy()}
        names: Sequence[str] = ("actions", "targets", "person_logits", "object_logits")
        return Interactions(*(torch.from_numpy(each) for each in self.interactions.run(list(names), feeds)))
