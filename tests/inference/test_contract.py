from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from sightline.inference.contract import Contract, ContractError, DType, Layout, read_contract
from sightline.inference.signature import ModelSignature, TensorSpec

LAMA = """
name = "lama"
version = "1"
fixed_size = [64, 32]
fixed_batch = 1
[inputs.image]
tensor = "img"
dtype = "float32"
layout = "nchw"
range = [0.0, 1.0]
[inputs.mask]
tensor = "msk"
dtype = "float32"
layout = "nchw"
range = [1.0, 0.0]
[outputs.filled]
tensor = "out"
dtype = "float32"
layout = "nchw"
range = [0, 255]
"""

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("image", "uint8", ("h", "w", 3), 0, 255), TensorSpec("mask", "uint8", ("h", "w", 1))),
    outputs=(TensorSpec("filled", "float32", ("h", "w", 3)),),
    buckets=({"h": 256, "w": 256}, {"h": 512, "w": 512}),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "contract.toml"
    path.write_text(text)
    return path


def test_contract_is_read_from_toml(tmp_path: Path) -> None:
    contract = read_contract(write(tmp_path, LAMA))
    assert (contract.name, contract.fixed_size, contract.fixed_batch, contract.precision) == (
        "lama",
        (64, 32),
        1,
        "fp32",
    )
    mask = contract.inputs["mask"]
    assert (mask.tensor, mask.dtype, mask.layout, mask.range) == ("msk", DType.FLOAT32, Layout.NCHW, (1.0, 0.0))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = ", "not TOML"),
        (LAMA.replace('version = "1"', ""), "version"),
        (LAMA.replace('"float32"', '"float99"'), "dtype"),
        (LAMA.replace("[0, 255]", "[3, 3]"), "must differ"),
        (LAMA.replace("fixed_batch = 1", "fixed_batch = 0"), "fixed_batch"),
        (LAMA.replace("fixed_batch", "fixed_bach"), "fixed_bach"),
    ],
    ids=["syntax", "missing", "type", "range", "zero", "misspelt"],
)
def test_invalid_contract_is_refused_by_its_fault(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        read_contract(write(tmp_path, text))


def test_missing_contract_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere\.toml: the contract cannot be read"):
        read_contract(tmp_path / "nowhere.toml")


def test_fixed_size_is_the_only_bucket(tmp_path: Path) -> None:
    adapted = read_contract(write(tmp_path, LAMA)).adapt(SIGNATURE)
    assert adapted.buckets == ({"h": 64, "w": 32},)


def parsed(tmp_path: Path, text: str) -> Contract:
    return read_contract(write(tmp_path, text))


def test_dynamic_weights_keep_the_buckets_they_can_take(tmp_path: Path) -> None:
    text = LAMA.replace("fixed_size = [64, 32]", "multiple_of = 128")
    assert parsed(tmp_path, text).adapt(SIGNATURE) == SIGNATURE
    with pytest.raises(ContractError, match="multiples of 384"):
        parsed(tmp_path, text.replace("128", "384")).adapt(SIGNATURE)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("inputs.mask", "inputs.holes", "inputs must declare"),
        ("outputs.filled", "outputs.result", "outputs must declare"),
    ],
)
def test_contract_must_declare_the_tensors_of_the_model(tmp_path: Path, before: str, after: str, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        parsed(tmp_path, LAMA.replace(before, after)).adapt(SIGNATURE)


def test_contract_sets_sizes_that_the_model_leaves_open(tmp_path: Path) -> None:
    signature = ModelSignature(SIGNATURE.inputs, SIGNATURE.outputs, ({"h": 256, "w": 256, "channels": 512},))
    own = LAMA + "[sizes]\nchannels = 640\n[facts]\nthreshold = 0.85\n"
    assert parsed(tmp_path, own).adapt(signature).buckets == ({"h": 64, "w": 32, "channels": 640},)
    assert parsed(tmp_path, LAMA).adapt(signature).buckets == ({"h": 64, "w": 32, "channels": 512},)
    assert parsed(tmp_path, own).facts == {"threshold": 0.85}
    for other in ("h", "depth"):
        with pytest.raises(ContractError, match=f"no size '{other}', only \\['channels'\\]"):
            parsed(tmp_path, own.replace("channels", other)).adapt(signature)


def test_only_the_sides_of_a_picture_must_be_multiples(tmp_path: Path) -> None:
    signature = ModelSignature(SIGNATURE.inputs, SIGNATURE.outputs, ({"h": 256, "w": 256, "channels": 9},))
    text = LAMA.replace("fixed_size = [64, 32]", "multiple_of = 128")
    assert parsed(tmp_path, text).adapt(signature) == signature


class Facts(BaseModel):
    model_config = ConfigDict(extra="forbid")
    threshold: float


def test_facts_are_validated_by_the_models_schema(tmp_path: Path) -> None:
    contract = read_contract(write(tmp_path, f"{LAMA}\n[facts]\nthreshold = 0.5\n"))
    assert contract.read_facts(Facts).threshold == 0.5


def test_unknown_facts_are_refused_by_name(tmp_path: Path) -> None:
    contract = read_contract(write(tmp_path, f"{LAMA}\n[facts]\nlimit = 0.5\n"))
    with pytest.raises(ContractError, match=r"lama: facts: threshold: .*; limit: "):
        contract.read_facts(Facts)
