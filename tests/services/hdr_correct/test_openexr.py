from io import BytesIO

import numpy as np
import OpenEXR
import pytest

from services.hdr_correct.openexr import openexr_file
from tests.services.hdr_correct.scenes import wide_scene


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1, 1), (33, 7)])
def test_openexr_reads_the_light_that_was_written(height: int, width: int) -> None:
    scene, light = wide_scene(height, width)
    file = OpenEXR.File(BytesIO(openexr_file(scene)))
    found = file.channels()["RGB"].pixels
    assert (found.dtype, found.shape) == (np.float16, light.shape)
    assert np.abs(found.astype(np.float32) / light - 1).max() < 1e-3


def test_the_header_says_what_the_numbers_mean() -> None:
    header = OpenEXR.File(BytesIO(openexr_file(wide_scene(10, 10)[0]))).header()
    assert header["compression"] == OpenEXR.ZIP_COMPRESSION
    assert "1.0 is the white" in header["comments"]
    assert header["chromaticities"][:2] == pytest.approx((0.64, 0.33))


def test_more_than_eight_stops_fit() -> None:
    found = OpenEXR.File(BytesIO(openexr_file(wide_scene(20, 400)[0]))).channels()["RGB"].pixels.astype(np.float32)
    assert np.log2(found.max() / found.min()) == pytest.approx(14, abs=0.01)
