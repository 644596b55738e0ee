"""HDR pictures and maps as they are collected: OpenEXR and Radiance files."""

from pathlib import Path

import cv2
import numpy as np
import OpenEXR

from sightline.training.hdr_correct.cameras import Linear

SUFFIXES = {".exr", ".hdr"}


def list_radiance(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_radiance(path: Path) -> Linear:
    """(h, w, 3) linear RGB, nothing below 0; ValueError when it cannot be read."""
    values = _read_exr(path) if path.suffix.lower() == ".exr" else _read_hdr(path)
    return np.maximum(np.nan_to_num(values[..., :3].astype(np.float32)), 0)


def _read_exr(path: Path) -> Linear:
    # OpenCV's wheels come without OpenEXR.
    with OpenEXR.File(str(path)) as file:
        channels = file.channels()
        if "RGB" in channels:
            return np.asarray(channels["RGB"].pixels)
        if "RGBA" in channels:
            return np.asarray(channels["RGBA"].pixels)
    raise ValueError(f"no colour channels: {path}")


def _read_hdr(path: Path) -> Linear:
    values = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    if values is None:
        raise ValueError(f"not a readable picture: {path}")
    return np.asarray(values, np.float32)
