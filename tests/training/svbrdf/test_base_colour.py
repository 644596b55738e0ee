import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest

from sightline.materials.base_colour import BaseColourModel
from sightline.training.svbrdf.base_colour import ColourData, fit, write_model
from sightline.training.svbrdf.colour_samples import PIXELS, draw_samples
from sightline.training.svbrdf.evaluate import Maps, plain
from sightline.training.svbrdf.flash import Floats
from sightline.training.svbrdf.materials import MaterialStore

CONTRACT = 'name = "n"\nmultiple_of = 128\n\n[inputs.photo]\ntensor = "photo"\n\n[sha256]\n"svbrdf.onnx" = "00"\n'


def grey(photo: Floats, _coordinates: Floats) -> Maps:
    maps = np.zeros((*photo.shape[:2], 7), np.float32)
    maps[..., :3], maps[..., 5], maps[..., 6] = 0.2, 1, 0.5
    return Maps(maps, plain(0.1, maps), 0, np.full(8, 0.125, np.float32))


@pytest.fixture
def data(store: MaterialStore) -> ColourData:
    return ColourData.collect(draw_samples(np.random.default_rng(0), store, grey), 6)


def test_model_learns_the_colours_of_its_samples(data: ColourData) -> None:
    model = BaseColourModel(_layers(fit(data, steps=150)))
    assert data.features.shape[:2] == (6, PIXELS)

    def error(given: Floats) -> float:
        return float(np.abs(np.log(given + 0.01) - np.log(data.albedo + 0.01)).mean())

    values = model(data.features)
    weights = np.exp(values[..., :7]) / np.exp(values[..., :7]).sum(axis=2, keepdims=True)
    candidates = np.concatenate([data.features[..., :12], data.fills], 2).reshape(*weights.shape, 3)
    given = np.exp((weights[..., None] * candidates).sum(axis=2) + values[..., 7:10])
    assert error(given) < 0.7 * error(np.full_like(data.albedo, 0.2))


def _layers(arrays: dict[str, Floats]) -> tuple[tuple[Floats, Floats], ...]:
    return tuple((arrays[f"weight{at}"], arrays[f"bias{at}"]) for at in range(3))


def test_file_and_contract_name_the_model(data: ColourData, tmp_path: Path) -> None:
    (tmp_path / "svbrdf.toml").write_text(CONTRACT)
    arrays = fit(data, steps=2)

    for _ in range(2):
        path = write_model(arrays, tmp_path)

    contract = tomllib.loads((tmp_path / "svbrdf.toml").read_text())
    assert contract["parts"] == {"base_colour": "base_colour.npz"}
    assert contract["sha256"] == {"svbrdf.onnx": "00", path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    np.testing.assert_array_equal(BaseColourModel.read(path.read_bytes()).layers[0][0], arrays["weight0"])
