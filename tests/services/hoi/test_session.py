"""Both graphs as one session, by ONNX Runtime."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from services.hoi.contract_facts import ContractFacts
from services.hoi.detections import Detections
from services.hoi.predictor import signature_for
from services.hoi.session import CascadeSession, LayoutGraph
from sightline.inference.contract import ContractError
from sightline.inference.signature import Tensors
from sightline.inference.weights import Weights, load_weights
from sightline.serving.settings import ServiceSettings
from tests.services.hoi.conftest import (
    ACTIONS,
    CONTRACT,
    LONGEST_PX,
    OBJECT_LOGITS,
    PERSON_LOGITS,
    SLOTS,
    TARGETS,
    Scene,
    detector_graph,
    floats,
    interactions_graph,
    save,
)

SHIPPED = Path("services/hoi/weights/detector.onnx")
SHIPPED_SLOTS = tomllib.loads(SHIPPED.with_suffix(".toml").read_text())["facts"]["slots"]
Change = Callable[[onnx.ModelProto], None]
Open = Callable[[Weights], CascadeSession]


@pytest.fixture(scope="module")
def open_cascade(settings: ServiceSettings) -> Open:
    def open_cascade(weights: Weights) -> CascadeSession:
        facts = weights.contract.read_facts(ContractFacts)
        return CascadeSession(weights, facts, weights.contract.adapt(signature_for(facts)), settings)

    return open_cascade


@pytest.fixture(scope="module")
def cascade(blobs: Weights, open_cascade: Open) -> CascadeSession:
    return open_cascade(blobs)


def run(cascade: CascadeSession, *pictures: np.ndarray) -> Tensors:
    return cascade.run({"image": np.stack(pictures)})


def test_rows_of_people_have_actions_and_all_rows_object_logits(cascade: CascadeSession, scene: Scene) -> None:
    picture = scene(("red", 4, 8, 20, 40), ("blue", 30, 8, 50, 40), width=LONGEST_PX, height=LONGEST_PX)
    outputs = {name: values[0] for name, values in run(cascade, picture).items()}

    assert outputs["boxes"][:3].tolist() == [[4, 8, 20, 40], [30, 8, 50, 40], [0, 0, 0, 0]]
    assert outputs["scores"][:3] == pytest.approx([0.9, 0.7, 0])
    assert outputs["labels"][:2].tolist() == [0, 1]
    assert outputs["actions"][:2] == pytest.approx(np.array([ACTIONS, np.zeros(len(SLOTS))]))
    assert outputs["targets"][0] == pytest.approx(np.array(TARGETS))
    assert outputs["person_logits"][0, :2] == pytest.approx(PERSON_LOGITS[:2])
    for row, (label, score) in enumerate((("person", 0.9), ("bicycle", 0.7))):
        assert outputs["object_logits"][row] == pytest.approx(score * np.array(OBJECT_LOGITS[label]))


def test_blank_picture_and_picture_without_people_have_no_interactions(cascade: CascadeSession, scene: Scene) -> None:
    blank = scene(width=LONGEST_PX, height=LONGEST_PX)
    things = scene(("blue", 4, 8, 20, 40), width=LONGEST_PX, height=LONGEST_PX)
    outputs = run(cascade, blank, things)

    assert outputs["boxes"].shape == (2, 100, 4)
    assert not any(values[0].any() for values in outputs.values())
    assert not outputs["actions"].any()
    assert outputs["object_logits"][1, 0].any()


def test_interactions_use_the_features_of_their_own_picture(cascade: CascadeSession, scene: Scene) -> None:
    dark, bright = (scene(("red", 4, 8, 20, 40), width=LONGEST_PX, height=LONGEST_PX, tone=tone) for tone in (0, 200))
    look = run(cascade, dark, bright)["person_logits"][:, 0, 2]

    assert look[1] - look[0] == pytest.approx(200 / 255 * (1 - 16 * 32 / LONGEST_PX**2), abs=1e-4)


def test_session_has_provider_and_precision(cascade: CascadeSession) -> None:
    assert (cascade.provider, cascade.precision, cascade.max_batch) == ("CPUExecutionProvider", "fp32", 1)


def without_p4(detector: onnx.ModelProto) -> None:
    del detector.graph.output[4]


def with_another_input(interactions: onnx.ModelProto) -> None:
    interactions.graph.input[0].name = "p6"
    for node in interactions.graph.node:
        node.input[:] = ["p6" if name == "p3" else name for name in node.input]


def in_one_size(detector: onnx.ModelProto) -> None:
    detector.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 96


def nothing(_: onnx.ModelProto) -> None:
    pass


@pytest.mark.parametrize(
    ("detector", "interactions", "contract", "said"),
    [
        (without_p4, nothing, CONTRACT, "'p4' is not in the graph"),
        (nothing, with_another_input, CONTRACT, "the graph takes .*p6"),
        (nothing, nothing, CONTRACT.replace(", ['walk', '']", ""), "actions.*size 3, the graph fixes 4"),
        (in_one_size, nothing, CONTRACT, "image.*the graph fixes 96"),
        (nothing, nothing, CONTRACT.replace('dtype = "int64"', 'dtype = "int32"'), "labels.*declared int32"),
        (
            nothing,
            nothing,
            CONTRACT.replace("interactions =", "heads ="),
            "parts must name the file of the interactions",
        ),
    ],
)
def test_graphs_that_differ_from_their_contract_are_refused(
    tmp_path: Path, open_cascade: Open, detector: Change, interactions: Change, contract: str, said: str
) -> None:
    save(tmp_path, contract)
    for name, graph, change in (
        ("detector", detector_graph(), detector),
        ("interactions", interactions_graph(), interactions),
    ):
        change(graph)
        onnx.save(graph, tmp_path / f"{name}.onnx")
    weights = load_weights(tmp_path / "detector.onnx", tmp_path / "detector.toml", shipped=True)
    with pytest.raises(ContractError, match=said):
        open_cascade(weights)


def test_session_drops_boxes_beyond_its_rows(tmp_path: Path, open_cascade: Open, scene: Scene) -> None:
    cascade = open_cascade(save(tmp_path, f"{CONTRACT}\n[sizes]\nfound = 1\n"))
    picture = scene(("red", 4, 8, 20, 40), ("blue", 30, 8, 50, 40), width=LONGEST_PX, height=LONGEST_PX)

    assert run(cascade, picture)["scores"] == pytest.approx(np.array([[0.9]]))


def failing_with_people(interactions: onnx.ModelProto) -> None:
    """Gathers the value behind the last one wherever there are people."""
    nodes = interactions.graph.node
    at = [node.op_type for node in nodes].index("ReduceMean")
    nodes[at].output[0] = "plain_tone"
    nodes.insert(at + 1, onnx.helper.make_node("Shape", ["people"], ["count"], start=0, end=1))
    nodes.insert(at + 2, onnx.helper.make_node("Gather", ["only", "count"], ["nothing"]))
    nodes.insert(at + 3, onnx.helper.make_node("Add", ["plain_tone", "nothing"], ["tone"]))
    interactions.graph.initializer.append(floats("only", [0.0]))


def test_failing_interaction_network_fails_at_load(tmp_path: Path, open_cascade: Open) -> None:
    weights, broken = save(tmp_path), interactions_graph()
    failing_with_people(broken)
    onnx.save(broken, tmp_path / "interactions.onnx")

    with pytest.raises(Exception, match="out of data bounds"):
        open_cascade(weights)


def test_layout_network_is_optional(blobs: Weights, settings: ServiceSettings) -> None:
    assert LayoutGraph.of(blobs, settings) is None


def test_layout_network_compares_people_with_all_detections(settings: ServiceSettings) -> None:
    layout = LayoutGraph.of(load_weights(SHIPPED, SHIPPED.with_suffix(".toml"), shipped=True), settings)
    assert layout is not None
    boxes = np.array([[10, 10, 60, 190], [5, 120, 90, 200], [150, 20, 190, 180]], np.float32)
    rows = np.zeros((3, 29), np.float32)
    labels, scores = np.array([0, 1, 0]), np.array([0.9, 0.8, 0.7], np.float32)
    found = Detections(boxes, scores, labels, rows, np.zeros((3, 29, 4), np.float32), rows, rows)

    outputs = layout.run(found, [0, 2], (200, 200))

    assert outputs is not None
    assert outputs.action_logits.shape == (2, 29)
    assert outputs.pair_logits.shape == (2, 3, 29)
    ride = SHIPPED_SLOTS.index(["ride", "instr"])
    assert outputs.action_logits[0, ride] > outputs.action_logits[1, ride]  # on the bicycle, and away from it
    assert outputs.pair_logits[0, 1, ride] > outputs.pair_logits[1, 1, ride]
    assert layout.run(found, [], (200, 200)) is None


def test_graph_of_other_inputs_is_no_layout_network(blobs: Weights, settings: ServiceSettings) -> None:
    with pytest.raises(ContractError, match="the layout graph takes"):
        LayoutGraph(blobs.path, "blobs", settings)
