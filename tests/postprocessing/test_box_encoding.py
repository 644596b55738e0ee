from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.postprocessing.box_encoding import decode_boxes, encode_boxes

PERSON = np.array([10, 20, 30, 60], np.float32)
SIDES = st.floats(1, 500)


def test_offsets_are_in_sizes_of_the_person_and_sides_are_ratios() -> None:
    thing = np.array([[30, 20, 70, 40]], np.float32)

    assert encode_boxes(thing, PERSON)[0].tolist() == pytest.approx([30 / 20, -10 / 40, log(2), log(0.5)])


@given(left=st.floats(-500, 500), top=st.floats(-500, 500), width=SIDES, height=SIDES)
def test_decoding_undoes_it(left: float, top: float, width: float, height: float) -> None:
    thing = np.array([left, top, left + width, top + height], np.float32)

    assert decode_boxes(encode_boxes(thing, PERSON), PERSON) == pytest.approx(thing, abs=0.05)


def test_no_number_is_too_large() -> None:
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(decode_boxes(np.array([0, 0, 900, -900], np.float32), PERSON)).all()
        assert np.isfinite(encode_boxes(np.zeros((1, 4), np.float32), PERSON)).all()
