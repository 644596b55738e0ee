from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.networks.svbrdf_net import TYPES
from sightline.training.svbrdf.materials import (
    AUTHORED_WORTH,
    UNKNOWN,
    MaterialStore,
    TrainingMaterial,
    pack_materials,
    read_material,
    read_materials,
)


def test_manifest_gives_split_type_and_metallic(material_folder: Path) -> None:
    train, val = (list(read_materials(material_folder, split)) for split in ("train", "val"))

    assert [material.name for material in train] == ["m0", "m1"]
    assert [material.type for material in train] == [TYPES.index("wood"), TYPES.index("metal")]
    assert [material.metallic for material in train] == [0.4, 1.0]
    assert [material.type for material in val] == [TYPES.index("stone_diffuse"), UNKNOWN]


def test_maps_are_read_as_they_were_written(material_folder: Path, generated: list[TrainingMaterial]) -> None:
    material = read_material(material_folder / "m0", {})

    assert material.maps.shape == (96, 96, 7)
    np.testing.assert_array_equal(material.normal, generated[0].normal)
    assert abs(float(material.roughness.mean()) - float(generated[0].roughness.mean())) < 2
    assert np.abs(material.albedo.astype(int) - generated[0].albedo).mean() < 12


def test_metals_take_their_colour_from_the_specular_map(material_folder: Path) -> None:
    specular = np.full((96, 96, 3), 58, np.uint8)
    specular[:48] = 200, 150, 90
    Image.fromarray(specular).save(material_folder / "m0" / "specular.png")

    material = read_material(material_folder / "m0", {})

    assert material.metallic == 0.5
    assert set(map(tuple, material.albedo[:48].reshape(-1, 3).tolist())) == {(200, 150, 90)}
    assert (material.albedo[48:].std(axis=(0, 1)) > 0).any()


def test_folder_without_manifest_is_read_whole(material_folder: Path) -> None:
    (material_folder / "manifest.csv").unlink()

    materials = list(read_materials(material_folder, "train"))

    assert len(materials) == 4
    assert {material.type for material in materials} == {UNKNOWN}


def test_missing_map_is_named_in_the_error(material_folder: Path) -> None:
    (material_folder / "m0" / "roughness.png").unlink()

    with pytest.raises(ValueError, match="no roughness map"):
        list(read_materials(material_folder, "train"))


def test_store_returns_the_packed_items(store: MaterialStore, generated: list[TrainingMaterial]) -> None:
    assert len(store) == len(generated)
    for at, material in enumerate(generated):
        np.testing.assert_array_equal(store[at].maps, material.maps)
        assert (store[at].type, store[at].metallic) == (material.type, material.metallic)


def test_every_type_is_drawn_as_often_as_any_other(store: MaterialStore) -> None:
    rng = np.random.default_rng(0)

    drawn = np.bincount([store.draw(rng).type for _ in range(4000)], minlength=len(TYPES))

    assert drawn.min() > 0.8 * 4000 / len(TYPES)


def test_authored_material_is_drawn_more_often_than_a_generated_one(
    tmp_path: Path, generated: list[TrainingMaterial]
) -> None:
    kind = generated[0].type
    alike = [replace(generated[0], name=str(at)) for at in range(AUTHORED_WORTH)]
    pack_materials([*alike, replace(generated[0], name="authored", generated=False)], tmp_path)
    store, rng = MaterialStore(tmp_path), np.random.default_rng(0)

    drawn = [store.draw(rng) for _ in range(1000)]

    assert {each.type for each in drawn} == {kind}
    assert 0.4 < np.mean([not each.generated for each in drawn]) < 0.6
