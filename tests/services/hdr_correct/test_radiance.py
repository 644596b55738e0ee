import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.hdr_correct.radiance import radiance_file
from tests.services.hdr_correct.scenes import wide_scene


def opened(data: bytes) -> NDArray[np.float32]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return decoded[..., ::-1].astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1, 1), (5, 7), (3, 8), (200, 130)])
def test_opencv_reads_the_light_that_was_written(height: int, width: int) -> None:
    scene, light = wide_scene(height, width)
    found = opened(radiance_file(scene))
    assert found.shape == light.shape
    assert np.abs(found / light - 1).max() < 0.01


def test_more_than_eight_stops_fit() -> None:
    found = opened(radiance_file(wide_scene(20, 400)[0]))
    assert np.log2(found.max() / found.min()) == pytest.approx(14, abs=0.05)


def test_the_header_says_what_one_is() -> None:
    header = radiance_file(wide_scene(20, 30)[0]).split(b"\n\n")[0].decode("ascii")
    assert header.startswith("#?RADIANCE\n")
    assert "1.0 is the white of a well-exposed photo" in header
    assert "FORMAT=32-bit_rle_rgbe" in header
