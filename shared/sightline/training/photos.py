"""Folders of photos packed into one memory-mapped file of decoded pixels, so that loaders only crop."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(h, w, 3) sRGB."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True, slots=True)
class PackedPhoto:
    offset_bytes: int
    height: int
    width: int


class PhotoStore:
    """Random access to photos written by `pack_photos`: `store[i]` is (h, w, 3) uint8 RGB, not copied."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self._photos = [PackedPhoto(*row) for row in index]
        self._pixels = np.memmap(folder / "pixels.u8", np.uint8, "r")

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, at: int) -> NDArray[np.uint8]:
        photo = self._photos[at]
        size = photo.height * photo.width * 3
        flat = self._pixels[photo.offset_bytes : photo.offset_bytes + size]
        return flat.reshape(photo.height, photo.width, 3)


def list_photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Training picture as (h, w, 3) uint8 RGB. ValueError if it is not readable."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError(f"not a readable picture: {path}")
    return np.asarray(pixels, np.uint8)


def after_jpeg(pixels: Picture, quality: int | None) -> Picture:
    """The picture (h, w, 3) after JPEG compression at this quality; unchanged for None."""
    if quality is None:
        return pixels
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def shrink_to(pixels: NDArray[np.uint8], short_side_px: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = short_side_px / min(height, width)
    if scale >= 1:
        return pixels
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def pack_photos(paths: Iterable[Path], folder: Path, *, short_side_px: int) -> int:
    """Writes the photos, scaled to a short side of at most `short_side_px`, and returns their number."""
    return pack_pictures((shrink_to(read_rgb(path), short_side_px) for path in paths), folder)


def pack_pictures(pictures: Iterable[Picture], folder: Path) -> int:
    """Writes the pictures unchanged and returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    index: list[tuple[int, int, int]] = []
    partial = folder / "pixels.u8.part"
    with partial.open("wb") as file:
        for pixels in pictures:
            index.append((file.tell(), pixels.shape[0], pixels.shape[1]))
            file.write(np.ascontiguousarray(pixels).data)
    partial.replace(folder / "pixels.u8")
    (folder / "index.json").write_text(json.dumps(index))
    return len(index)
