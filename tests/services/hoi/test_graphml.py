import networkx

from services.hoi.graphml import graphml
from services.hoi.results import HoiReport
from tests.services.hoi.records import CYCLISTS, SHA256, record


def read(told: HoiReport) -> "networkx.MultiDiGraph":
    return networkx.parse_graphml(graphml(record(told)).decode(), force_multigraph=True)


def test_graphml_has_a_node_for_each_detection() -> None:
    graph = read(CYCLISTS)

    assert graph.is_directed()
    assert graph.nodes["detection-2"] == {
        "label": "bicycle",
        "score": 0.9,
        "left": 20.0,
        "top": 50.0,
        "right": 80.0,
        "bottom": 95.0,
    }
    assert graph.nodes["detection-1"]["actions"] == "smile 0.250, eat 0.250, eat 0.250"
    assert graph.nodes["detection-0"]["actions"] == ""


def test_graphml_has_an_edge_for_each_interaction() -> None:
    edges = [(start, end, data["action"]) for start, end, data in read(CYCLISTS).edges(data=True)]

    assert sorted(edges) == [
        ("detection-0", "detection-1", "look"),
        ("detection-0", "detection-2", "hold"),
        ("detection-0", "detection-2", "ride"),
        ("detection-1", "detection-2", "ride"),
    ]
    (look,) = read(CYCLISTS).get_edge_data("detection-0", "detection-1").values()
    assert {name: look[name] for name in ("role", "score", "target_score")} == {
        "role": "obj",
        "score": 0.25,
        "target_score": 0.5,
    }


def test_graphml_names_the_picture_and_the_model() -> None:
    graph = read(CYCLISTS).graph
    assert (graph["sha256"], graph["width"], graph["request_id"]) == (SHA256, 200, "a<b&c")


def test_graphml_without_detections_is_empty() -> None:
    assert read(HoiReport([], [])).number_of_nodes() == 0
