"""Memory of one process with sessions, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from sightline.inference.memory import IDENTITY

MEGABYTES_NEEDED = 200

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime as ort
import psutil
from sightline.inference.engine import open_graph
from sightline.inference.memory import release_unused_memory
from sightline.serving.settings import ServiceSettings

def megabytes():
    return psutil.Process().memory_info().rss / 1e6

_, session = open_graph(Path(sys.argv[1]), ServiceSettings(providers=("cpu",)))
small, large = np.ones(10, np.float32), np.ones(25_000_000, np.float32)
session.run(None, {"x": small})
release_unused_memory()
before = megabytes()
session.run(None, {"x": large})
after = megabytes()
release_unused_memory()
print(after - before, megabytes() - before, float(session.run(None, {"x": small})[0][0]))
"""


def doubling_graph() -> onnx.ModelProto:
    """y = 2 * (x + x) + x, whose steps need several tensors of the size of x."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    nodes = [helper.make_node("Add", pair, [out]) for pair, out in ((["x", "x"], "a"), (["a", "a"], "b"))]
    graph = helper.make_graph([*nodes, helper.make_node("Add", ["b", "x"], ["y"])], "doubling", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_memory_of_a_large_batch_is_returned(tmp_path: Path) -> None:
    onnx.save(doubling_graph(), tmp_path / "doubling.onnx")
    command = (sys.executable, "-c", PROGRAM, str(tmp_path / "doubling.onnx"))
    paths = os.pathsep.join(("shared", "."))

    said = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=True
    ).stdout

    grown, kept, result = (float(word) for word in said.split()[-3:])
    assert grown > MEGABYTES_NEEDED
    assert kept < 0.1 * grown
    assert result == 5


def test_shrinking_graph_is_an_identity_of_one_float() -> None:
    graph = onnx.load_model_from_string(IDENTITY).graph
    assert [node.op_type for node in graph.node] == ["Identity"]
    assert np.prod([each.dim_value for each in graph.input[0].type.tensor_type.shape.dim]) == 1
