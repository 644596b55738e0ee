"""HDR scenes: OpenEXR and Radiance files, views into panoramas, their store, and a good photo of a scene."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.training.hdr_correct.cameras import Linear
from sightline.training.photos import Picture

SUFFIXES = {".exr", ".hdr"}


def list_radiance(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_radiance(path: Path) -> Linear:
    """Linear RGB (h, w, 3) >= 0 of an HDR file. ValueError if it is not readable."""
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
    raise ValueError(f"{path} has no colour channels")


def _read_hdr(path: Path) -> Linear:
    values = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    if values is None:
        raise ValueError(f"{path} is not a readable picture")
    return np.asarray(values, np.float32)


MIDDLE_GREY = 0.18
MAX_LIGHT = 60_000.0  # half floats end at 65,504
FUSED_EVS = (-3.0, -1.5, 0.0, 1.5)
VIEW_SIZE_PX = (256, 340)
PANORAMA_ASPECT = 2.0
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


class HdrSceneStore:
    """Random access to scenes written by `pack_scenes`: `store[i]` is (h, w, 3) float16, its log-average at middle
    grey."""

    def __init__(self, folder: Path) -> None:
        self._shapes: list[tuple[int, int, int]] = [
            tuple(row) for row in json.loads((folder / "index.json").read_text())
        ]
        self._values = np.memmap(folder / "scenes.f16", np.float16, "r")

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, at: int) -> NDArray[np.float16]:
        offset, height, width = self._shapes[at]
        return np.asarray(self._values[offset : offset + 3 * height * width]).reshape(height, width, 3)


def pack_scenes(scenes: Iterable[Linear], folder: Path) -> int:
    """Writes the scenes, each scaled to middle grey, and returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    index: list[tuple[int, int, int]] = []
    offset = 0
    partial = folder / "scenes.f16.part"
    with partial.open("wb") as file:
        for scene in scenes:
            values = np.minimum(to_middle_grey(scene), MAX_LIGHT).astype(np.float16)
            file.write(np.ascontiguousarray(values).data)
            index.append((offset, values.shape[0], values.shape[1]))
            offset += values.size
    partial.replace(folder / "scenes.f16")
    (folder / "index.json").write_text(json.dumps(index))
    return len(index)


def read_scenes(folder: Path, *, views: int = 24) -> Iterator[Linear]:
    """Yields the given number of views of each panorama (twice as wide as high), and other HDR pictures whole."""
    rng = np.random.default_rng(0)
    for path in list_radiance(folder):
        scene = read_radiance(path)
        height, width = scene.shape[:2]
        if width == PANORAMA_ASPECT * height:
            yield from random_views(rng, scene, count=views, size_px=VIEW_SIZE_PX)
        else:
            scale = min(1.0, VIEW_SIZE_PX[0] / min(height, width))
            size = (round(width * scale), round(height * scale))
            yield np.asarray(cv2.resize(scene, size, interpolation=cv2.INTER_AREA), np.float32)


def to_middle_grey(scene: Linear) -> Linear:
    """The scene scaled so that the log-average of its luminance is middle grey (Reinhard et al. 2002)."""
    luminance = scene @ LUMINANCE
    floor = max(float(np.quantile(luminance, 0.02)), 1e-6)
    log_average = float(np.exp(np.log(np.maximum(luminance, floor)).mean()))
    return np.asarray(scene * np.float32(MIDDLE_GREY / log_average), np.float32)


def random_views(
    rng: np.random.Generator, panorama: Linear, *, count: int, size_px: tuple[int, int]
) -> Iterable[Linear]:
    """Random perspective views (height, width) of an equirectangular map, mostly level, as people hold cameras."""
    for _ in range(count):
        yaw, pitch = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.18)
        yield view(panorama, yaw=yaw, pitch=pitch, fov=float(np.deg2rad(rng.uniform(60, 95))), size_px=size_px)


def view(panorama: Linear, *, yaw: float, pitch: float, fov: float, size_px: tuple[int, int]) -> Linear:
    """A perspective view of an equirectangular map. Angles are in radians; `fov` is across the width."""
    height, width = size_px
    focal = width / 2 / np.tan(fov / 2)
    x, y = np.meshgrid(np.arange(width) - width / 2 + 0.5, np.arange(height) - height / 2 + 0.5)
    down, ahead = y * np.cos(pitch) - focal * np.sin(pitch), y * np.sin(pitch) + focal * np.cos(pitch)
    longitude = (np.arctan2(x, ahead) + yaw) % (2 * np.pi)
    latitude = np.arctan2(down, np.hypot(x, ahead))
    rows, columns = panorama.shape[:2]
    map_x = (longitude / (2 * np.pi) * columns).astype(np.float32)
    map_y = ((latitude / np.pi + 0.5) * rows - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(panorama, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def good_photo(scene: Linear) -> Picture:
    """A well-exposed photo of a scene: exposure fusion (Mertens et al. 2007) of a bracket."""
    bracket = [np.rint(255 * encode_srgb(np.clip(scene * 2.0**ev, 0, 1))).astype(np.uint8) for ev in FUSED_EVS]
    fused = cv2.createMergeMertens().process(bracket)
    return np.asarray(np.rint(255 * np.clip(fused, 0, 1)), np.uint8)
