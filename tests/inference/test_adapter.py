from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.inference.adapter import TensorAdapter
from sightline.inference.contract import TensorContract
from sightline.inference.signature import TensorSpec


def adapter(low: float, high: float, *, file: dict[str, Any]) -> TensorAdapter:
    return TensorAdapter(TensorSpec("x", "uint8", ("h", "w", 3), low, high), TensorContract(tensor="x", **file))


def test_without_layout_and_range_only_the_type_changes() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    converted = adapter(0, 255, file={"dtype": "float32"}).to_file(values)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, values)


def test_whole_numbers_are_rounded_and_kept_within_their_type() -> None:
    values = np.array([-0.2, 0.5004, 1.7], np.float32).reshape(1, 1, 1, 3)
    restored = adapter(0, 255, file={"dtype": "float32", "range": (0, 1)}).from_file(values)
    assert restored.ravel().tolist() == [0, 128, 255]


@given(st.integers(0, 255), st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (0.0, 255.0)]))
def test_values_converted_to_the_file_convert_back(value: int, file_range: tuple[float, float]) -> None:
    values = np.full((2, 4, 5, 3), value, np.uint8)
    values[0, 0, 1, 2] = 255 - value
    both_ways = adapter(0, 255, file={"dtype": "float32", "layout": "nchw", "range": file_range})
    in_file = both_ways.to_file(values)
    assert in_file.shape == (2, 3, 4, 5)
    assert in_file.min() >= min(file_range) - 1e-5
    assert in_file.max() <= max(file_range) + 1e-5
    np.testing.assert_array_equal(both_ways.from_file(in_file), values)


@pytest.mark.parametrize(("layout", "shape"), [("nchw", (3, 4, 5)), ("nhwc", (4, 5, 3)), (None, (4, 5, 3))])
def test_shapes_in_the_file_follow_the_layout(layout: str | None, shape: tuple[int, ...]) -> None:
    assert adapter(0, 1, file={"dtype": "float32", "layout": layout}).file_shape((4, 5, 3)) == shape
