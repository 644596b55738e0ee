import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.serving.contract import ContractError, read_contract
from sightline.serving.settings import ServiceSettings
from sightline.serving.weights import Weights, resolve_weights

MakeSettings = Callable[..., ServiceSettings]


def test_shipped_weights_are_the_default(make_settings: MakeSettings, tiny_weights: Weights) -> None:
    weights = resolve_weights(make_settings(), tiny_weights.path)
    assert weights.sha256 == hashlib.sha256(tiny_weights.path.read_bytes()).hexdigest()
    identity = weights.identity("tiny")
    assert (identity.contract, identity.version) == ("shipped", "1.2.3")
    assert str(identity) == f"tiny@1.2.3+{weights.sha256[:12]}"


def test_settings_replace_them(make_settings: MakeSettings, tiny_weights: Weights, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(tiny_weights.path.with_suffix(".toml").read_text().replace('"tiny"', '"mine"'))
    settings = make_settings(weights=tiny_weights.path, contract=elsewhere)
    weights = resolve_weights(settings, tmp_path / "not-there.onnx")
    assert weights.identity("tiny").contract == "mine"


def test_missing_weights_are_named(make_settings: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"lost\.onnx: there are no readable weights"):
        resolve_weights(make_settings(weights=tmp_path / "lost.onnx"), tmp_path / "shipped.onnx")


def test_further_files_are_part_of_the_weights(
    make_settings: MakeSettings, tiny_weights: Weights, tmp_path: Path
) -> None:
    first, contract = tmp_path / "first.onnx", tmp_path / "first.toml"
    first.write_bytes(tiny_weights.path.read_bytes())
    declared = tiny_weights.path.with_suffix(".toml").read_text()
    contract.write_text(f'{declared}\n[parts]\nheads = "heads.onnx"\n')
    with pytest.raises(ContractError, match=r"heads\.onnx: there are no readable weights"):
        resolve_weights(make_settings(), first)

    (tmp_path / "heads.onnx").write_bytes(b"more")
    weights = resolve_weights(make_settings(), first)
    assert weights.parts == {"heads": tmp_path / "heads.onnx"}
    assert weights.sha256 == hashlib.sha256(first.read_bytes() + b"more").hexdigest()


@pytest.mark.parametrize("name", ["../heads.onnx", "/tmp/heads.onnx", "a/b.onnx", ""])
def test_further_files_lie_beside_the_first(tiny_weights: Weights, tmp_path: Path, name: str) -> None:
    contract = tmp_path / "first.toml"
    declared = tiny_weights.path.with_suffix(".toml").read_text()
    contract.write_text(f'{declared}\n[parts]\nheads = "{name}"\n')
    with pytest.raises(ContractError, match=r"parts\.heads"):
        read_contract(contract)
