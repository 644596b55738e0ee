import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sightline.api.problems import Code, Problem
from sightline.serving.v2 import codec, json_tensors
from sightline.serving.v2.schemas import DTYPES, InferRequest

MAX_VALUES = 1000
JSON_INPUT = {"name": "x", "shape": [1, 2], "datatype": "UINT8", "data": [1, 2]}


def body(*inputs: dict[str, Any], tail: bytes = b"", **more: Any) -> tuple[bytes, int]:
    header = json.dumps({"inputs": list(inputs), **more}).encode()
    return header + tail, len(header)


def refusal(content: bytes, json_bytes: int | None) -> Problem:
    with pytest.raises(Problem) as caught:
        codec.decode(content, json_bytes, MAX_VALUES)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_decodes_json_tensors(data: list[Any]) -> None:
    content, _ = body({"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data})
    values = codec.decode(content, None, MAX_VALUES).batch["x"]
    assert values.dtype == np.float32
    assert values.tolist() == [[1, 2], [3, 4]]


def test_decodes_tensors_behind_the_json_in_their_order() -> None:
    first = {"name": "a", "shape": [1, 2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}
    second = {"name": "b", "shape": [1], "datatype": "FP16", "parameters": {"binary_data_size": 2}}
    tail = np.array([[7, -8]], np.int64).tobytes() + np.array([0.5], np.float16).tobytes()
    batch = codec.decode(*body(first, JSON_INPUT, second, tail=tail), MAX_VALUES).batch
    assert (batch["a"].tolist(), batch["b"].tolist(), batch["x"].tolist()) == ([[7, -8]], [0.5], [[1, 2]])


def binary(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 4], "datatype": "UINT8", "parameters": {"binary_data_size": 4}, **changes}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ((b"{", None), "not an inference request"),
        ((b"[" * 9_000, None), "cannot be parsed"),
        ((b'{"a":' * 900 + b"1" + b"}" * 900, None), "not an inference request"),
        ((b'{"inputs": NaN}', None), "cannot be parsed"),
        ((b'{"inputs": %b}' % (b"9" * 5000), None), "cannot be parsed"),
        ((b'{"inputs": "\xff"}', None), "cannot be parsed"),
        (body({**JSON_INPUT, "shape": []}), "not an inference request"),
        (body({**JSON_INPUT, "shape": [1] * 70}), "not an inference request"),
        (body({**JSON_INPUT, "shape": [10**400]}), "not an inference request"),
        (body({**JSON_INPUT, "shape": ["1", 2]}), "not an inference request"),
        (body({**JSON_INPUT, "shape": [True, 2]}), "not an inference request"),
        (body({**JSON_INPUT, "name": "x" * 300}), "not an inference request"),
        (body(*[JSON_INPUT] * 65), "not an inference request"),
        (body(JSON_INPUT, id="x" * 2000), "not an inference request"),
        (body(JSON_INPUT, outputs=[{"name": "y"}] * 2), "output 'y' is listed twice"),
        (body(JSON_INPUT, outputs=[{"name": "y"}] * 65), "not an inference request"),
        (body(JSON_INPUT, outputs=[{"name": "y", "parameters": {"binary_data": "false"}}]), "true or false"),
        (body(JSON_INPUT, parameters={"binary_data_output": 1}), "true or false"),
        (body(binary(parameters={"binary_data_size": True}), tail=b"1234"), "more bytes than the body has"),
        (body(binary(datatype="BOOL"), tail=b"\x00\x01\x02\x01"), "each is 0 or 1"),
        ((b"{}", 3), "declared length"),
        (body(), "not an inference request"),
        (body({**JSON_INPUT, "shape": [1, -2]}), "not an inference request"),
        (body({**JSON_INPUT, "shape": [10**9, 10**9]}), "by their shapes"),
        (body({**JSON_INPUT, "datatype": "BYTES"}), "not an inference request"),
        (body({**JSON_INPUT, "data": [1, 300]}), "is not UINT8"),
        (body({**JSON_INPUT, "data": [1, "two"]}), "is not UINT8"),
        (body({**JSON_INPUT, "data": [[1], [2, 3]]}), "has 3 values; its shape requires 2"),
        (body({**JSON_INPUT, "data": None}), "has no data"),
        (body(JSON_INPUT, JSON_INPUT), "is listed twice"),
        (body(binary(), tail=b"123"), "more bytes than the body has"),
        (body(binary(), tail=b"12345"), "follow the last tensor"),
        (body(binary(shape=[1, 5]), tail=b"1234"), "4 bytes; its shape and type require 5"),
        (body(binary(shape=[10**9, 10**9]), tail=b"1234"), "by their shapes"),
        (body(binary(parameters={"binary_data_size": -1})), "more bytes than the body has"),
        (body(binary(parameters={"binary_data_size": "4"}), tail=b"1234"), "more bytes than the body has"),
        (body(binary(data=[1, 2, 3, 4]), tail=b"1234"), "in the JSON and after"),
        (body(binary(parameters={"shared_memory_region": "r"})), "not supported"),
    ],
)
def test_inconsistent_request_is_refused(content: tuple[bytes, int | None], fault: str) -> None:
    assert fault in refusal(*content).detail


UNFIT: dict[str, list[Any]] = {
    **{f"{sign}INT{bits}": [1.7, "12", True, "", None, {}, 2.5e300] for sign in ("", "U") for bits in (8, 16, 64)},
    "INT32": [1.7, "12", True, 2**31, -(2**31) - 1, 1e300, 10**400, 2.0**53 + 2],
    "UINT32": [-1, 2**32, -0.5],
    "BOOL": [0, 1, 1.0, "true", None],
    "FP16": [10**400, "1.5", True, 70_000, -65_520.0],
    "FP32": [10**400, "1.5", True, None, {}, 1e39],
    "FP64": [10**400, "1.5", False],
}


@pytest.mark.parametrize(
    ("data_type", "value"), [(data_type, value) for data_type, values in UNFIT.items() for value in values]
)
@pytest.mark.parametrize("place", [0, 1])
def test_value_that_does_not_fit_its_type_is_refused(data_type: str, value: Any, place: int) -> None:
    usual = True if data_type == "BOOL" else 1
    data = [usual, value] if place else [value, usual]
    content, _ = body({"name": "x", "shape": [2], "datatype": data_type, "data": data})
    assert refusal(content, None).detail == f"The data of the input 'x' is not {data_type}."


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity", b"1e400"])
@pytest.mark.parametrize("data_type", [b"FP32", b"FP64", b"INT8"])
def test_values_that_are_not_finite_numbers_are_refused(constant: bytes, data_type: bytes) -> None:
    refusal(b'{"inputs": [{"name": "x", "shape": [1], "datatype": "%b", "data": [%b]}]}' % (data_type, constant), None)


@pytest.mark.parametrize(
    ("data_type", "data"),
    [
        ("INT8", [-128, 127.0]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("BOOL", [True, False]),
        ("FP16", [65_504, -0.0]),
        ("FP64", [1.7e308, 2**60]),
    ],
)
def test_values_within_their_type_are_accepted(data_type: str, data: list[Any]) -> None:
    content, _ = body({"name": "x", "shape": [2], "datatype": data_type, "data": data})
    assert codec.decode(content, None, MAX_VALUES).batch["x"].tolist() == data


@pytest.mark.parametrize("item", [b"[]", b"{}", b'""', b"1", b"[[[1]]]", b"[1,2]", b'{"name":1}'])
@pytest.mark.parametrize(
    "place",
    [
        b'{"inputs": [%b]}',
        b'{"inputs": [{"shape": [%b]}]}',
        b'{"inputs": [{"data": [%b]}]}',
        b'{"more": [%b]}',
        b"[%b]",
    ],
)
def test_more_json_than_the_largest_request_has_is_refused(place: bytes, item: bytes) -> None:
    content = place % b",".join([item] * 600_000)
    tracemalloc.start()
    try:
        problem = refusal(content, None)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * len(content) + 100_000
    assert len(str(problem.facts)) < 10_000


def test_only_the_first_of_many_faults_are_reported() -> None:
    fault = {"name": 1, "shape": [0] * 8, "datatype": "x", "data": 1}
    errors = refusal(*body(*[fault] * 60)).facts["errors"]
    assert len(errors) == 20
    assert {"field": "inputs.0.shape.0", "message": "Input should be greater than 0"} in errors


def test_more_values_than_the_largest_request_has_are_refused() -> None:
    content, _ = body({"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]})
    assert codec.decode(content, None, 4).batch["x"].size == 4
    with pytest.raises(Problem, match="the largest request to this model has 3"):
        codec.decode(content, None, 3)


@pytest.mark.parametrize("nested", [True, False])
@settings(deadline=None)
@given(st.data())
def test_tensors_in_many_pieces_are_whole(nested: bool, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=9))
    values = np.random.default_rng(0).normal(size=shape)
    indent = data.draw(st.sampled_from([None, 0, 3]))
    content = json.dumps(
        {
            "inputs": [
                {
                    "data": values.tolist() if nested else values.ravel().tolist(),
                    "name": "x",
                    "shape": shape,
                    "datatype": "FP64",
                }
            ]
        },
        indent=indent,
    ).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tensors, "PIECE_BYTES", 100)
        np.testing.assert_array_equal(codec.decode(content, None, 10**4).batch["x"], values)


@pytest.mark.parametrize(
    "data",
    [
        *("[[1,2]3,[4,5]]", "[[1,2],3[4,5]]", "[1[2,3],4]", "[[1,2],[3,4]", "[[1,2],[3,4]]]", "[1,2],[3,4]"),
        *("[[1,2,3],[4]]", "[[1],[2],[3],[4]]", "[[[1,2],[3,4]]]", "[1 2,3,4,5]", "[1,2,3,4,]", "[,1,2,3]", "[[],[]]"),
        *("[1,2,[3,4]]", "[-,1,2,3]", "[1,2,3,4e]", "[01,2,3,4]", "[1,2,3,t]", "[+1,2,3,4]", "[1.,2,3,4]", "[]"),
    ],
)
def test_list_that_is_none_or_not_of_the_shape_is_refused(data: str) -> None:
    refusal(b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "INT64", "data": %b}]}' % data.encode(), None)


def test_data_outside_of_an_input_is_not_a_tensor() -> None:
    odd: dict[str, Any] = {'"data': [1], "parameters": {"data": [1, 2]}, "id": '"data": [7]'}
    content, _ = body(JSON_INPUT, **odd, data=[[3]])
    inference = codec.decode(content, None, MAX_VALUES)
    assert inference.batch["x"].tolist() == [[1, 2]]
    assert inference.request.id == '"data": [7]'


def test_outputs_that_json_has_no_numbers_for_are_refused() -> None:
    request = InferRequest.model_validate({"inputs": [JSON_INPUT]})
    with pytest.raises(Problem, match="binary_data"):
        codec.encode(request, {"y": np.array([0.5, np.nan])}, model="m", version="1")


def test_long_outputs_are_whole() -> None:
    request = InferRequest.model_validate({"inputs": [JSON_INPUT]})
    values = np.arange(200_000, dtype=np.int32).reshape(2, -1)
    reply = json.loads(codec.encode(request, {"y": values, "z": values[:1, :0]}, model="m", version="1").content)
    assert reply["outputs"][0] == {
        "name": "y",
        "shape": [2, 100_000],
        "datatype": "INT32",
        "data": list(range(200_000)),
    }
    assert reply["outputs"][1]["data"] == []


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_any_body_is_decoded_or_refused(content: bytes, json_bytes: int | None) -> None:
    with pytest.raises(Problem):
        codec.decode(content, json_bytes, MAX_VALUES)


@pytest.mark.parametrize("as_binary", [True, False])
@settings(deadline=None)
@given(st.data())
def test_what_is_encoded_decodes_to_the_same(as_binary: bool, data: st.DataObject) -> None:
    data_type, dtype = data.draw(st.sampled_from(list(DTYPES.items())))
    shape = data.draw(arrays.array_shapes(max_dims=3, max_side=4))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else None
    values = data.draw(arrays.arrays(dtype, shape, elements=finite))
    request = InferRequest.model_validate(
        {"id": "7", "inputs": [JSON_INPUT], "parameters": {"binary_data_output": as_binary}}
    )
    reply = codec.encode(request, {"y": values}, model="m", version="1")
    assert (reply.json_bytes is not None) is as_binary
    header = json.loads(reply.content[: reply.json_bytes])
    assert (header["id"], header["model_name"], header["outputs"][0]["datatype"]) == ("7", "m", data_type)
    header["inputs"] = header.pop("outputs")
    again, size = body(*header["inputs"], tail=reply.content[reply.json_bytes :] if as_binary else b"")
    np.testing.assert_array_equal(codec.decode(again, size, MAX_VALUES).batch["y"], values)


def test_only_the_wanted_outputs_are_encoded() -> None:
    wanted = [{"name": "b", "parameters": {"binary_data": True}}]
    request = InferRequest.model_validate({"inputs": [JSON_INPUT], "outputs": wanted})
    batch = {"a": np.zeros(1, np.uint8), "b": np.ones(2, np.uint8)}
    reply = codec.encode(request, batch, model="m", version="1")
    assert reply.content.endswith(b"\x01\x01")
    assert b'"a"' not in reply.content
    with pytest.raises(Problem, match="no output 'b'"):
        codec.check_outputs(request, ["a"])


def test_batches_are_split_and_joined() -> None:
    batch = {"x": np.arange(6).reshape(3, 2), "y": np.arange(3)}
    samples = codec.split(batch, max_samples=3)
    assert [sample["x"].tolist() for sample in samples] == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_array_equal(codec.join(samples)["x"], batch["x"])
    with pytest.raises(Problem, match="at most 2"):
        codec.split(batch, max_samples=2)
    with pytest.raises(Problem, match="the same batch dimension"):
        codec.split({**batch, "y": np.arange(2)}, max_samples=3)
