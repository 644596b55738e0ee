"""Materials as maps of a surface, read from folders and packed into one memory-mapped file."""

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.networks.svbrdf_net import TYPES
from sightline.training.photos import SUFFIXES, Picture, read_rgb

UNKNOWN = -1
AUTHORED = ("A", "B")
PUBLISHED = ("T",)
"""Tiers of the manifest: materials made for renderers, and the maps that papers on this task were tested with."""
CHANNELS = 7
FLAT = 127.5
AUTHORED_WORTH = 16
"""Frequency of an authored material relative to a generated one of its type: there are few of them, and
real surfaces are nearer to them."""
MAX_DIELECTRIC = 80  # in sRGB, 8 % of the light; most reflect 4 %
TYPE_OF_KIND = {"stone-tile": "stone_diffuse", "stone-specular": "stone_specular"}
"""Types by their name in the manifest; others that the network lacks, such as paper, are of unknown type."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingMaterial:
    """A material for training.

    maps: (h, w, 7) uint8: base colour in sRGB, normal as 127.5 * (n + 1) with y up, and roughness; type: its index in
    `TYPES`, or UNKNOWN; metallic: 0..1, of the whole; generated: True for procedural materials.
    """

    maps: NDArray[np.uint8]
    type: int
    metallic: float
    name: str = ""
    generated: bool = False

    @property
    def albedo(self) -> Picture:
        return self.maps[..., :3]

    @property
    def normal(self) -> Picture:
        return self.maps[..., 3:6]

    @property
    def roughness(self) -> NDArray[np.uint8]:
        return self.maps[..., 6]


def read_materials(folder: Path, split: str, tiers: Collection[str] = AUTHORED) -> Iterator[TrainingMaterial]:
    """Yields the materials of a split and of some tiers by the folder's manifest.csv.

    Without a manifest it yields all materials, with unknown type.
    """
    manifest = folder / "manifest.csv"
    if not manifest.exists():
        yield from (read_material(path.parent, {}) for path in sorted(folder.glob("*/normal.*")))
        return
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split and row["tier"] in tiers]
    yield from (read_material(folder / row["material"], row) for row in rows)


def read_material(folder: Path, row: dict[str, str]) -> TrainingMaterial:
    """A material from the pictures `diffuse`, `normal` and `roughness` of a folder, and `specular`, the colour of
    metals without diffuse colour. ValueError if one is not readable."""
    albedo, normal, roughness = (_read_map(folder, name) for name in ("diffuse", "normal", "roughness"))
    size = (albedo.shape[1], albedo.shape[0])
    metal = np.zeros(size[::-1], bool)
    if any(folder.glob("specular.*")):
        metal = metal_pixels(folder)
        albedo = np.where(metal[..., None], _read_map(folder, "specular"), albedo)
    others = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (normal, roughness[..., 1]))
    maps = np.dstack([albedo, *others]).astype(np.uint8)
    kind = row.get("type", "")
    name = TYPE_OF_KIND.get(kind, kind)
    metallic = float(row.get("metallic_mean") or metal.mean() or (name == "metal"))
    return TrainingMaterial(maps, TYPES.index(name) if name in TYPES else UNKNOWN, metallic, folder.name)


def metal_pixels(folder: Path) -> NDArray[np.bool_]:
    """The pixels (h, w) whose `specular` colour is above that of any dielectric."""
    return np.asarray(_read_map(folder, "specular").max(axis=2) > MAX_DIELECTRIC)


def _read_map(folder: Path, name: str) -> Picture:
    files = [path for path in sorted(folder.glob(f"{name}.*")) if path.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"there is no {name} map in {folder}")
    return read_rgb(files[0])


def pack_materials(materials: Iterable[TrainingMaterial], folder: Path) -> int:
    """Writes the materials for a `MaterialStore` and returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    partial = folder / "maps.u8.part"
    with partial.open("wb") as file:
        for material in materials:
            height, width = material.maps.shape[:2]
            entry = {"offset": file.tell(), "height": height, "width": width}
            known = {"type": material.type, "metallic": material.metallic, "name": material.name}
            index.append(entry | known | {"generated": material.generated})
            file.write(np.ascontiguousarray(material.maps).data)
    partial.replace(folder / "maps.u8")
    (folder / "index.json").write_text(json.dumps(index))
    return len(index)


class MaterialStore:
    """Random access to materials written by `pack_materials`; the maps are not copied."""

    def __init__(self, folder: Path) -> None:
        self._index: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())
        self._bytes = np.memmap(folder / "maps.u8", np.uint8, "r")
        types = np.array([entry["type"] for entry in self._index])
        self._members = [np.flatnonzero(types == each) for each in np.unique(types)]
        worth = np.array([1.0 if entry["generated"] else AUTHORED_WORTH for entry in self._index])
        self._sampling_weights = [worth[members] / worth[members].sum() for members in self._members]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, at: int) -> TrainingMaterial:
        entry = self._index[at]
        shape = (entry["height"], entry["width"], CHANNELS)
        maps = self._bytes[entry["offset"] : entry["offset"] + int(np.prod(shape))].reshape(shape)
        return TrainingMaterial(maps, entry["type"], entry["metallic"], entry["name"], entry["generated"])

    def draw(self, rng: np.random.Generator) -> TrainingMaterial:
        """Draws a material: all types equally often, authored materials more often than generated ones."""
        at = int(rng.integers(len(self._members)))
        return self[int(rng.choice(self._members[at], p=self._sampling_weights[at]))]
