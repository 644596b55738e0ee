"""Detectors made here: graphs whose boxes are known, behind every form of a contract."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline.inference.contract import ContractError
from sightline.inference.detector import (
    CONTRACTS,
    DetectorContract,
    DetectorInput,
    DetectorSession,
    Resizing,
    catalogued_contract,
    load_detector,
)
from sightline.inference.settings import InferenceSettings, Provider

SETTINGS = InferenceSettings(providers=(Provider.CPU,), intra_op_threads=1)
HEIGHT, WIDTH = 64, 128
CONTRACT = f"""
task = "detection"
name = "boxes"
version = "1"

[input]
size = [{HEIGHT}, {WIDTH}]

[output]
decoder = "boxes"
classes = ["person", "dog"]
"""
BOXES = [[0, 0, 64, 32], [0, 0, 60, 32], [100, 40, 128, 64], [0, 0, 1, 1]]
SCORES, LABELS = [0.5, 0.9, 0.7, 0.01], [0, 0, 1, 1]

Write = Callable[..., Path]


def save(path: Path, outputs: Mapping[str, np.ndarray]) -> None:
    """A graph that takes a picture and returns these constants; the sum of the picture is added to the first one."""
    first = next(iter(outputs))
    names = {name: f"{name}_constant" for name in outputs}
    nodes = [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["none"]),
        *(
            helper.make_node("Add", [names[name], "none"], [name])
            if name == first
            else helper.make_node("Identity", [names[name]], [name])
            for name in outputs
        ),
    ]
    constants = [numpy_helper.from_array(values, names[name]) for name, values in outputs.items()]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    infos = [helper.make_tensor_value_info(name, kinds[values.dtype], values.shape) for name, values in outputs.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    zero = numpy_helper.from_array(np.zeros((), np.float32), "nothing")
    graph = helper.make_graph(nodes, "constant", [image], infos, [*constants, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(contract: str = CONTRACT, **outputs: np.ndarray) -> Path:
        usual = {"boxes": np.array([BOXES], np.float32), "scores": np.array([SCORES], np.float32)}
        save(tmp_path / "made.onnx", outputs or {**usual, "labels": np.array([LABELS])})
        (tmp_path / "made.toml").write_text(contract)
        return tmp_path

    return write


def session(folder: Path) -> DetectorSession:
    return DetectorSession(load_detector(folder), SETTINGS)


def test_boxes_are_in_pixels_of_the_picture_by_falling_score(write: Write) -> None:
    found = session(write()).detect(np.zeros((2 * HEIGHT, WIDTH // 2, 3), np.uint8))

    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert found.labels.tolist() == [0, 1, 0]
    assert found.boxes_xyxy.tolist() == [[0, 0, 30, 64], [50, 80, 64, 128], [0, 0, 32, 64]]


def test_contract_chooses_suppression_minimum_score_and_number(write: Write) -> None:
    suppressed = session(write(f"{CONTRACT}nms_iou = 0.6")).detect(np.zeros((9, 9, 3), np.uint8))
    strict = session(write(f"{CONTRACT}min_score = 0.6\nmax_boxes = 1")).detect(np.zeros((9, 9, 3), np.uint8))

    assert suppressed.scores.tolist() == pytest.approx([0.9, 0.7])
    assert strict.scores.tolist() == pytest.approx([0.9])


def test_letterboxed_picture_keeps_its_proportions() -> None:
    taken = DetectorInput(size=(HEIGHT, WIDTH), resize=Resizing.LETTERBOX, padding=7)

    drawn = taken.draw(np.full((100, 50, 3), 200, np.uint8))

    assert (drawn[:, :32] == 200).all()
    assert (drawn[:, 32:] == 7).all()


def test_boxes_of_a_letterboxed_picture_end_at_its_edges(write: Write) -> None:
    detector = session(write(CONTRACT.replace("[output]", 'resize = "letterbox"\n[output]')))

    found = detector.detect(np.zeros((128, 64, 3), np.uint8))  # 32 px of the input's width

    assert found.boxes_xyxy[0].tolist() == [0, 0, 64, 64]


def test_input_is_normalised_in_the_order_of_the_channels() -> None:
    drawn = np.tile(np.array([10, 20, 30], np.uint8), (2, 2, 1))
    taken = DetectorInput(size=(2, 2), channels="bgr", mean=(1, 2, 3), std=(1, 2, 4))

    assert taken.normalize(drawn)[0, :, 0, 0].tolist() == [29, 9, 1.75]


@pytest.mark.parametrize("decoder", ["picodet", "nanodet_plus"])
def test_decoders_of_cells_find_their_box(decoder: str, write: Write) -> None:
    counts = [128, 32, 8, 2]
    scores, bins = np.zeros((1, 170, 2), np.float32), np.zeros((1, 170, 32), np.float32)
    scores[0, 3, 1] = 0.8
    bins[0, 3].reshape(4, 8)[:, 1] = 50
    levels = np.cumsum(counts)[:-1]
    split = [*np.split(scores, levels, axis=1), *np.split(bins, levels, axis=1)]
    outputs = {f"o{at}": each for at, each in enumerate(split)} if decoder == "picodet" else {}
    outputs = outputs or {"output": np.concatenate([scores, bins], 2)}

    found = session(write(CONTRACT.replace('"boxes"\nc', f'"{decoder}"\nc'), **outputs)).detect(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    )

    centre = 28 if decoder == "picodet" else 24
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], pytest.approx([0.8]))
    assert found.boxes_xyxy[0, [0, 2]].tolist() == pytest.approx([centre - 8, centre + 8])


@pytest.mark.parametrize(
    ("contract", "fault"),
    [
        (CONTRACT.replace("[64, 128]", "[64, 64]"), "shape"),
        (CONTRACT.replace("[output]", 'tensor = "picture"\n[output]'), "picture"),
        (f'{CONTRACT}tensors = ["boxes", "scores", "classes"]', "classes"),
        (CONTRACT.replace('decoder = "boxes"', 'decoder = "picodet"'), "8 tensors"),
        (CONTRACT.replace('"detection"', '"segmentation"'), "task"),
        (CONTRACT.replace("version", "versions"), "versions"),
        (CONTRACT.replace("[output]", "std = [0, 1, 1]\n[output]"), "std"),
        (f'{CONTRACT}[sha256]\n"made.onnx" = "{64 * "0"}"', "damaged"),
        (f'{CONTRACT}[sha256]\n"other.onnx" = "{64 * "0"}"', "made.onnx"),
    ],
)
def test_detector_that_differs_from_its_contract_is_refused(contract: str, fault: str, write: Write) -> None:
    with pytest.raises(ContractError, match=fault):
        session(write(contract))


def test_outputs_of_another_number_of_classes_are_refused(write: Write) -> None:
    contract = CONTRACT.replace('"boxes"\nc', '"nanodet_plus"\nc')
    with pytest.raises(ContractError, match="classes"):
        session(write(contract, output=np.zeros((1, 170, 80 + 32), np.float32) + 0.5))


def test_label_beyond_the_classes_is_ignored(write: Write) -> None:
    boxes, scores = np.array(BOXES[:2], np.float32), np.array([0.8, 0.9], np.float32)
    found = session(write(boxes=boxes, scores=scores, labels=np.array([1, 2]))).detect(np.zeros((9, 9, 3), np.uint8))

    assert found.scores.tolist() == pytest.approx([0.8])


def test_folder_without_one_contract_is_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ContractError, match="none"):
        load_detector(tmp_path)
    folder = write()
    (folder / "other.toml").write_text("")
    with pytest.raises(ContractError, match=r"made\.toml, other\.toml"):
        load_detector(folder)
    assert load_detector(folder / "made.onnx").contract.name == "boxes"


def test_digest_is_in_identity_and_verified(write: Write) -> None:
    unverified = load_detector(write())
    verified = load_detector(write(f'{CONTRACT}[sha256]\n"made.onnx" = "{unverified.sha256}"'))

    assert (unverified.verified, verified.verified) == (False, True)
    assert str(verified.identity) == f"boxes@1+{unverified.sha256[:12]}"


def test_facts_of_a_detector_replace_those_of_the_model() -> None:
    written: dict[str, Any] = tomllib.loads(f"{CONTRACT}[facts]\nsigma = 2\n[facts.thresholds]\nshown = 0.5")
    facts = {"sigma": 1, "slots": [1], "thresholds": {"shown": 0.1, "empty_role": 0.2}}

    assert DetectorContract.model_validate(written).override(facts) == {
        "sigma": 2,
        "slots": [1],
        "thresholds": {"shown": 0.5, "empty_role": 0.2},
    }


@pytest.mark.parametrize("name", [each.stem for each in CONTRACTS.glob("*.toml") if "detection" in each.read_text()])
def test_catalogued_contracts_are_valid(name: str) -> None:
    assert catalogued_contract(name).name == name
