"""Contact sheets of photos with true and estimated maps side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.training.photos import Picture
from sightline.training.svbrdf.evaluate import Case, Estimator, Maps, novel_renders

SHOWN_LIGHT = 4  # of the ten


def write_sheet(path: Path, estimate: Estimator, cases: Sequence[Case]) -> None:
    """Writes a PNG with a row for each photo: the photo, base colour, normals, roughness and a render, each true and
    estimated."""
    rows = [row(case, estimate(case.photo, case.coordinates)) for case in cases]
    cv2.imwrite(str(path), np.ascontiguousarray(np.vstack(rows)[..., ::-1]))


def row(case: Case, estimate: Maps) -> Picture:
    """A row (h, 9 w, 3) of the sheet in sRGB."""
    both = (case.truth, estimate)
    drawn = zip(*(_maps(maps) for maps in both), strict=True)
    renders = [novel_renders(maps, case)[SHOWN_LIGHT] for maps in both]
    return np.hstack([_bytes(encode_srgb(case.photo)), *(picture for pair in drawn for picture in pair), *renders])


def _maps(maps: Maps) -> list[Picture]:
    values = maps.maps
    grey = np.repeat(values[..., 6:], 3, axis=2)
    return [_bytes(encode_srgb(values[..., :3])), _bytes((values[..., 3:6] + 1) / 2), _bytes(grey)]


def _bytes(values: NDArray[Any]) -> Picture:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)
