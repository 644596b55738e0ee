"""Quality of the scene estimated from one badly exposed photo."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from sightline.api.media_types import OPENEXR
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.networks.drht import ALPHA, GAMMA
from sightline.training.hdr_correct.baselines import gamma_to_mean
from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.correctors import OnnxNetwork
from sightline.training.hdr_correct.data import WHITE
from sightline.training.hdr_correct.evaluate import EVS, ev_name, plain_camera
from sightline.training.hdr_correct.scenes import LUMINANCE, read_scenes, to_middle_grey
from sightline.training.metrics import pu21_psnr_db
from sightline.training.photos import Picture
from sightline.training.served_model import ServedModel, encode_png
from sightline.training.tables import Figures, make_rows, markdown_table

SIZE_PX = (192, 256)
VIEWS_PER_PANORAMA = 4
MIN_LIGHT = 1e-4

Estimator = Callable[[Picture], Linear]
"""A photo (h, w, 3) to its scene, 1 = the white of a well-exposed photo."""


def linearized(photo: Picture) -> Linear:
    """The photo's linear light, unchanged."""
    return decode_srgb(photo.astype(np.float32) / 255)


def linearized_gamma(photo: Picture) -> Linear:
    """The photo's linear light at a middle brightness."""
    return linearized(gamma_to_mean(photo))


ESTIMATORS: dict[str, Estimator] = {"linearized": linearized, "linearized_gamma": linearized_gamma}


class OnnxSceneEstimator:
    """The scene from the first half of hdr_correct.onnx."""

    def __init__(self, path: Path) -> None:
        self.network = OnnxNetwork(path, "compressed")

    def __call__(self, photo: Picture) -> Linear:
        return np.asarray((np.maximum(self.network(photo), 0) / ALPHA) ** (1 / GAMMA) / WHITE, np.float32)


@dataclass(frozen=True, slots=True)
class ServiceEstimator:
    """The scene from the service, as OpenEXR."""

    model: ServedModel

    def __call__(self, photo: Picture) -> Linear:
        with OpenEXR.File(BytesIO(self.model({"image": encode_png(photo)}, OPENEXR))) as file:
            return np.asarray(file.channels()["RGB"].pixels, np.float32)


def compare_scenes(estimators: Mapping[str, Estimator], folder: Path) -> str:
    """PU21-PSNR with white at 100 cd/m2 of all HDR files in a folder, by exposure error, as Markdown.

    `scaled` is computed after scaling the estimate to the scene's brightness; `stops` is the range of the estimate's
    luminance, without its darkest and brightest thousandth, and `true_stops` that of the scene.
    """
    scenes = [_resized(to_middle_grey(scene)) for scene in read_scenes(folder, views=VIEWS_PER_PANORAMA)]
    cases = [(ev, at) for ev in EVS for at in range(len(scenes))]
    figures: dict[str, list[Figures]] = {name: [] for name in estimators}
    for ev, at in cases:
        photo = plain_camera(ev).shoot(scenes[at], np.random.default_rng(at))
        for name, estimate in estimators.items():
            figures[name].append(_measured(estimate(photo), scenes[at]))
    return markdown_table(make_rows(cases, lambda case: ev_name(case[0]), figures), "exposure")


def _measured(light: Linear, truth: Linear) -> Figures:
    low, middle, high = _quantiles(light)
    true_low, true_middle, true_high = _quantiles(truth)
    return {
        "pu21_psnr_db": pu21_psnr_db(light, truth),
        "scaled_db": pu21_psnr_db(true_middle / middle * light, truth),
        "stops": float(np.log2(high / low)),
        "true_stops": float(np.log2(true_high / true_low)),
    }


def _quantiles(light: NDArray[Any]) -> NDArray[np.float64]:
    return np.maximum(np.quantile(light @ LUMINANCE, (1e-3, 0.5, 1 - 1e-3)), MIN_LIGHT)


def _resized(scene: Linear) -> Linear:
    return np.asarray(cv2.resize(scene, SIZE_PX[::-1], interpolation=cv2.INTER_AREA), np.float32)
