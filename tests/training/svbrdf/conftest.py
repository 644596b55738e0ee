from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.networks.svbrdf_net import TYPES
from sightline.training.svbrdf.materials import MaterialStore, TrainingMaterial, pack_materials
from sightline.training.svbrdf.procedural.generator import generate_many


@pytest.fixture(scope="session")
def generated() -> list[TrainingMaterial]:
    """Two of every type."""
    return list(generate_many(2 * len(TYPES), 96))


@pytest.fixture
def store(generated: list[TrainingMaterial], tmp_path: Path) -> MaterialStore:
    pack_materials(generated, tmp_path / "store")
    return MaterialStore(tmp_path / "store")


@pytest.fixture
def material_folder(generated: list[TrainingMaterial], tmp_path: Path) -> Path:
    """As materials are collected: a folder each, and a manifest with splits."""
    folder = tmp_path / "materials"
    rows = ["material,type,tier,split,metallic_mean"]
    for at, (kind, split) in enumerate(
        (("wood", "train"), ("metal", "train"), ("stone-tile", "val"), ("paper", "val"))
    ):
        place = folder / f"m{at}"
        place.mkdir(parents=True)
        material = generated[at]
        cv2.imwrite(str(place / "diffuse.jpg"), material.albedo[..., ::-1])
        cv2.imwrite(
            str(place / "normal.webp"),
            np.ascontiguousarray(material.normal[..., ::-1]),
            (cv2.IMWRITE_WEBP_QUALITY, 101),
        )
        cv2.imwrite(str(place / "roughness.png"), cv2.resize(material.roughness, (48, 48)))
        rows.append(f"m{at},{kind},A,{split},{0.4 if kind == 'wood' else ''}")
    (folder / "manifest.csv").write_text("\n".join([*rows, "gone,wood,R,train,"]) + "\n")
    return folder
