import networkx

from services.hoi.graphml import graphml
from services.hoi.record import Told
from tests.services.hoi.telling import CYCLISTS, SHA256, record


def read(told: Told) -> "networkx.MultiDiGraph":
    return networkx.parse_graphml(graphml(record(told)).decode(), force_multigraph=True)


def test_detections_are_nodes() -> None:
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


def test_what_people_do_with_things_are_edges_also_several_between_two() -> None:
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


def test_the_graph_tells_of_what_it_is() -> None:
    graph = read(CYCLISTS).graph
    assert (graph["sha256"], graph["width"], graph["request_id"]) == (SHA256, 200, "a<b&c")


def test_nothing_found_is_an_empty_graph() -> None:
    assert read(Told([], [])).number_of_nodes() == 0
