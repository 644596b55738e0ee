import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sightline.api.problems import Code, Problem
from sightline.serving.v2 import codec
from sightline.serving.v2.schemas import DTYPES, InferRequest

JSON_INPUT = {"name": "x", "shape": [1, 2], "datatype": "UINT8", "data": [1, 2]}


def body(*inputs: dict[str, Any], tail: bytes = b"", **more: Any) -> tuple[bytes, int]:
    header = json.dumps({"inputs": list(inputs), **more}).encode()
    return header + tail, len(header)


def refusal(content: bytes, json_bytes: int | None) -> Problem:
    with pytest.raises(Problem) as caught:
        codec.decode(content, json_bytes)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_decodes_json_tensors(data: list[Any]) -> None:
    content, _ = body({"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data})
    values = codec.decode(content, None).batch["x"]
    assert values.dtype == np.float32
    assert values.tolist() == [[1, 2], [3, 4]]


def test_decodes_tensors_behind_the_json_in_their_order() -> None:
    first = {"name": "a", "shape": [1, 2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}
    second = {"name": "b", "shape": [1], "datatype": "FP16", "parameters": {"binary_data_size": 2}}
    tail = np.array([[7, -8]], np.int64).tobytes() + np.array([0.5], np.float16).tobytes()
    batch = codec.decode(*body(first, JSON_INPUT, second, tail=tail)).batch
    assert (batch["a"].tolist(), batch["b"].tolist(), batch["x"].tolist()) == ([[7, -8]], [0.5], [[1, 2]])


def binary(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 4], "datatype": "UINT8", "parameters": {"binary_data_size": 4}, **changes}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ((b"{", None), "not an inference request"),
        ((b"[" * 100_000, None), "not an inference request"),
        ((b"{}", 3), "declared length"),
        (body(), "not an inference request"),
        (body({**JSON_INPUT, "shape": [1, -2]}), "not an inference request"),
        (body({**JSON_INPUT, "shape": [10**9, 10**9]}), "its shape makes"),
        (body({**JSON_INPUT, "datatype": "BYTES"}), "not an inference request"),
        (body({**JSON_INPUT, "data": [1, 300]}), "is not UINT8"),
        (body({**JSON_INPUT, "data": [1, "two"]}), "is not UINT8"),
        (body({**JSON_INPUT, "data": [[1], [2, 3]]}), "is not UINT8"),
        (body({**JSON_INPUT, "data": None}), "has no data"),
        (body(JSON_INPUT, JSON_INPUT), "comes twice"),
        (body(binary(), tail=b"123"), "more bytes than there are"),
        (body(binary(), tail=b"12345"), "left over"),
        (body(binary(shape=[1, 5]), tail=b"1234"), "4 bytes, its shape and type make 5"),
        (body(binary(shape=[10**9, 10**9]), tail=b"1234"), "its shape and type make"),
        (body(binary(parameters={"binary_data_size": -1})), "more bytes than there are"),
        (body(binary(parameters={"binary_data_size": "4"}), tail=b"1234"), "more bytes than there are"),
        (body(binary(data=[1, 2, 3, 4]), tail=b"1234"), "in the JSON and behind"),
        (body(binary(parameters={"shared_memory_region": "r"})), "not supported"),
    ],
)
def test_refuses_what_does_not_add_up(content: tuple[bytes, int | None], fault: str) -> None:
    assert fault in refusal(*content).detail


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_never_fails_otherwise_than_by_refusing(content: bytes, json_bytes: int | None) -> None:
    with pytest.raises(Problem):
        codec.decode(content, json_bytes)


@pytest.mark.parametrize("as_binary", [True, False])
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
    np.testing.assert_array_equal(codec.decode(again, size).batch["y"], values)


def test_only_the_wanted_outputs_are_encoded() -> None:
    wanted = [{"name": "b", "parameters": {"binary_data": True}}]
    request = InferRequest.model_validate({"inputs": [JSON_INPUT], "outputs": wanted})
    batch = {"a": np.zeros(1, np.uint8), "b": np.ones(2, np.uint8)}
    reply = codec.encode(request, batch, model="m", version="1")
    assert reply.content.endswith(b"\x01\x01")
    assert b'"a"' not in reply.content
    with pytest.raises(Problem, match="no output 'b'"):
        codec.encode(request, {"a": batch["a"]}, model="m", version="1")


def test_batches_are_split_and_joined() -> None:
    batch = {"x": np.arange(6).reshape(3, 2), "y": np.arange(3)}
    samples = codec.split(batch, max_samples=3)
    assert [sample["x"].tolist() for sample in samples] == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_array_equal(codec.join(samples)["x"], batch["x"])
    with pytest.raises(Problem, match="At most 2"):
        codec.split(batch, max_samples=2)
    with pytest.raises(Problem, match="differ"):
        codec.split({**batch, "y": np.arange(2)}, max_samples=3)
