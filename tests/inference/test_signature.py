import numpy as np
import pytest

from sightline.api.problems import Code, Problem
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("image", "uint8", ("h", "w", 3)), TensorSpec("mask", "uint8", ("h", "w", 1))),
    outputs=(TensorSpec("filled", "float32", ("h", "w", 3)),),
    buckets=({"h": 4, "w": 4}, {"h": 8, "w": 4}),
)


def sample(height: int, width: int, dtype: str = "uint8") -> dict[str, np.ndarray]:
    return {"image": np.zeros((height, width, 3), dtype), "mask": np.zeros((height, width, 1), "uint8")}


def test_sample_belongs_to_the_bucket_of_its_shapes() -> None:
    assert SIGNATURE.key_of(sample(8, 4)) == ((8, 4, 3), (8, 4, 1))
    assert SIGNATURE.output_shapes(((8, 4, 3), (8, 4, 1))) == ((8, 4, 3),)


def test_blank_batches_fit_their_bucket() -> None:
    for key in SIGNATURE.keys:
        blank = SIGNATURE.blank(key, batch=2)
        assert SIGNATURE.key_of({name: values[0] for name, values in blank.items()}) == key
        assert all(len(values) == 2 for values in blank.values())


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (sample(5, 4), "shapes match no size"),
        (sample(4, 4, "float32"), "'image' has the type float32, not uint8"),
        ({"image": np.zeros((4, 4, 3), "uint8")}, "'mask' is missing"),
        ({**sample(4, 4), "more": np.zeros(1)}, "no input 'more'"),
        ({**sample(4, 4), "mask": np.zeros((8, 4, 1), "uint8")}, "shapes match no size"),
    ],
    ids=["shape", "dtype", "missing", "unknown", "mixed"],
)
def test_sample_that_fits_no_bucket_is_an_invalid_request(wrong: Tensors, fault: str) -> None:
    with pytest.raises(Problem, match=fault) as caught:
        SIGNATURE.key_of(wrong)
    assert caught.value.code is Code.INVALID_REQUEST
