from io import BytesIO

import cv2
import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from services.hdr_correct.rendering import openexr_file, radiance_file
from tests.services.hdr_correct.scenes import wide_scene


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1, 1), (33, 7)])
def test_openexr_is_read_by_its_library(height: int, width: int) -> None:
    scene, light = wide_scene(height, width)
    file = OpenEXR.File(BytesIO(openexr_file(scene)))
    found = file.channels()["RGB"].pixels
    assert (found.dtype, found.shape) == (np.float16, light.shape)
    assert np.abs(found.astype(np.float32) / light - 1).max() < 1e-3


def test_openexr_header_states_white_and_primaries() -> None:
    header = OpenEXR.File(BytesIO(openexr_file(wide_scene(10, 10)[0]))).header()
    assert header["compression"] == OpenEXR.ZIP_COMPRESSION
    assert "1.0 is the white" in header["comments"]
    assert header["chromaticities"][:2] == pytest.approx((0.64, 0.33))


def test_openexr_holds_more_than_eight_stops() -> None:
    found = OpenEXR.File(BytesIO(openexr_file(wide_scene(20, 400)[0]))).channels()["RGB"].pixels.astype(np.float32)
    assert np.log2(found.max() / found.min()) == pytest.approx(14, abs=0.01)


def opened(data: bytes) -> NDArray[np.float32]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return decoded[..., ::-1].astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1, 1), (5, 7), (3, 8), (200, 130)])
def test_radiance_is_read_by_opencv(height: int, width: int) -> None:
    scene, light = wide_scene(height, width)
    found = opened(radiance_file(scene))
    assert found.shape == light.shape
    assert np.abs(found / light - 1).max() < 0.01


def test_radiance_holds_more_than_eight_stops() -> None:
    found = opened(radiance_file(wide_scene(20, 400)[0]))
    assert np.log2(found.max() / found.min()) == pytest.approx(14, abs=0.05)


def test_radiance_header_states_white() -> None:
    header = radiance_file(wide_scene(20, 30)[0]).split(b"\n\n")[0].decode("ascii")
    assert header.startswith("#?RADIANCE\n")
    assert "1.0 is the white of a well-exposed photo" in header
    assert "FORMAT=32-bit_rle_rgbe" in header
