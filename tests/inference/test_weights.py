import hashlib
import os
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from subprocess import run

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline.cli.fleet import free_port
from sightline.inference.contract import ContractError, read_contract
from sightline.inference.weights import Weights, external_files, resolve_weights
from sightline.serving.settings import ServiceSettings

MakeSettings = Callable[..., ServiceSettings]


def test_shipped_weights_are_the_default(make_settings: MakeSettings, tiny_weights: Weights) -> None:
    weights = resolve_weights(make_settings(), tiny_weights.path)
    assert weights.sha256 == hashlib.sha256(tiny_weights.path.read_bytes()).hexdigest()
    identity = weights.identity("tiny")
    assert (identity.contract, identity.version) == ("shipped", "1.2.3")
    assert str(identity) == f"tiny@1.2.3+{weights.sha256[:12]}"


def test_settings_replace_shipped_weights(make_settings: MakeSettings, tiny_weights: Weights, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(tiny_weights.path.with_suffix(".toml").read_text().replace('"tiny"', '"mine"'))
    settings = make_settings(weights=tiny_weights.path, contract=elsewhere)
    weights = resolve_weights(settings, tmp_path / "not-there.onnx")
    assert weights.identity("tiny").contract == "mine"


def test_missing_weights_are_refused_by_path(make_settings: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"lost\.onnx: the weights cannot be read"):
        resolve_weights(make_settings(weights=tmp_path / "lost.onnx"), tmp_path / "shipped.onnx")


def test_further_files_are_part_of_the_weights(
    make_settings: MakeSettings, tiny_weights: Weights, tmp_path: Path
) -> None:
    first, contract = tmp_path / "first.onnx", tmp_path / "first.toml"
    first.write_bytes(tiny_weights.path.read_bytes())
    declared = tiny_weights.path.with_suffix(".toml").read_text()
    contract.write_text(f'{declared}\n[parts]\nheads = "heads.onnx"\n')
    with pytest.raises(ContractError, match=r"heads\.onnx: the weights cannot be read"):
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


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def split(tiny_weights: Weights, tmp_path: Path) -> Path:
    """A graph whose tensors lie in two files beside it; some of them in a branch and in a node."""
    path = tmp_path / "split.onnx"
    onnx.save(split_model(), path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "first.bin").write_bytes(np.arange(64, dtype=np.float32).tobytes())
    (tmp_path / "second.bin").write_bytes(np.ones(64, np.float32).tobytes())
    path.with_suffix(".toml").write_text(tiny_weights.path.with_suffix(".toml").read_text())
    return path


def split_model() -> onnx.ModelProto:
    def kept_in(location: str, name: str) -> onnx.TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[64], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        return tensor

    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [64])

    def branch(name: str, location: str) -> onnx.GraphProto:
        nodes = [helper.make_node("Identity", [name], ["result"])]
        return helper.make_graph(nodes, name, [], [result], [kept_in(location, name)])

    nodes = [
        helper.make_node("Constant", [], ["shift"], value=kept_in("second.bin", "shift")),
        helper.make_node(
            "If",
            ["condition"],
            ["chosen"],
            then_branch=branch("first", "data/first.bin"),
            else_branch=branch("second", "second.bin"),
        ),
        helper.make_node("Add", ["chosen", "shift"], ["result"]),
    ]
    inputs = [helper.make_tensor_value_info("condition", TensorProto.BOOL, [])]
    small = [numpy_helper.from_array(np.zeros(3, np.float32), "unused")]
    graph = helper.make_graph(nodes, "split", inputs, [result], small)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_external_data_is_found_wherever_the_graph_has_tensors(split: Path, tiny_weights: Weights) -> None:
    session = onnxruntime.InferenceSession(str(split), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"condition": np.array(True)})
    assert result[5] == 6
    assert external_files(split) == ["data/first.bin", "second.bin"]
    assert external_files(tiny_weights.path) == []


def test_digest_covers_external_data(make_settings: MakeSettings, split: Path) -> None:
    files = split, split.parent / "data" / "first.bin", split.parent / "second.bin"
    before = resolve_weights(make_settings(), split).sha256
    assert before == hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    for file in files[1:]:
        content = file.read_bytes()
        file.write_bytes(content[:-1] + b"x")
        assert resolve_weights(make_settings(), split).sha256 != before
        file.write_bytes(content)


def test_service_with_damaged_weights_ends_with_a_sentence(split: Path, make_settings: MakeSettings) -> None:
    """The shipped ones of a real model, with some bits turned over."""
    shipped = Path(str(resources.files("services.inpaint"))) / "weights" / "inpaint.onnx"
    assert resolve_weights(make_settings(), shipped).verified
    damaged, content = split.parent / "inpaint.onnx", bytearray(shipped.read_bytes())
    for at in np.random.default_rng(0).integers(len(content) // 2, len(content), 200):
        content[at] ^= 1
    damaged.write_bytes(content)
    damaged.with_suffix(".toml").write_text(shipped.with_suffix(".toml").read_text())
    command = (sys.executable, "-m", "sightline.serving", "services.inpaint.app:create")
    chosen = {"SIGHTLINE_WEIGHTS": str(damaged), "SIGHTLINE_PORT": str(free_port())}
    done = run(command, env={**os.environ, **chosen}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("The weights are refused: ")
    assert f"inpaint.onnx: its SHA-256 is {sha256(damaged)}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("location", ["../first.bin", "/etc/hostname", "data/../../first.bin"])
def test_external_data_lies_beside_the_graph(make_settings: MakeSettings, split: Path, location: str) -> None:
    model = onnx.load(split, load_external_data=False)
    model.graph.node[0].attribute[0].t.external_data[0].value = location
    onnx.save(model, split)
    with pytest.raises(ContractError, match="must lie beside it"):
        resolve_weights(make_settings(), split)


@pytest.mark.parametrize("content", [b"", b"GGUF", bytes(range(256)), b"\xff" * 40])
def test_file_that_is_not_onnx_has_no_external_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    assert external_files(path) == []


def declare(path: Path, *files: str) -> None:
    """Name the SHA-256 of these files in the contract of a graph."""
    rows = "".join(f'"{name}" = "{sha256(path.parent / name)}"\n' for name in files)
    contract = path.with_suffix(".toml")
    contract.write_text(f"{contract.read_text()}\n[sha256]\n{rows}")


@pytest.mark.parametrize("damaged", ["split.onnx", "data/first.bin", "second.bin"])
def test_files_that_differ_from_the_contract_are_refused(
    make_settings: MakeSettings, split: Path, damaged: str
) -> None:
    assert not resolve_weights(make_settings(), split).verified
    declare(split, "split.onnx", "data/first.bin", "second.bin")
    assert resolve_weights(make_settings(), split).verified

    file = split.parent / damaged
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(ContractError, match=f"{damaged}: its SHA-256 is {sha256(file)}, the contract says"):
        resolve_weights(make_settings(), split)


def test_contract_names_all_files_or_none(make_settings: MakeSettings, split: Path) -> None:
    declare(split, "split.onnx", "second.bin")
    with pytest.raises(ContractError, match=r"names no SHA-256 of data/first\.bin"):
        resolve_weights(make_settings(), split)


def test_contract_names_no_other_files(make_settings: MakeSettings, split: Path) -> None:
    (split.parent / "third.bin").write_bytes(b"third")
    declare(split, "split.onnx", "second.bin", "data/first.bin", "third.bin")
    with pytest.raises(ContractError, match=r"that the weights lack: third\.bin"):
        resolve_weights(make_settings(), split)
