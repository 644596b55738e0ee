"""Radiance .hdr files: eight bits for each channel and a common exponent, each row packed on its own."""

import cv2
import numpy as np

from services.hdr_correct.floats import Floats
from services.hdr_correct.scene import Scene

HEADER = """\
#?RADIANCE
# 1.0 is the white of a well-exposed photo.
SOFTWARE=Sightline
PRIMARIES=0.6400 0.3300 0.3000 0.6000 0.1500 0.0600 0.3127 0.3290
FORMAT=32-bit_rle_rgbe

-Y {height} +X {width}
"""


def radiance_file(scene: Scene) -> bytes:
    rows = [_packed(light) for _, light in scene.bands()]
    return b"".join([HEADER.format(height=scene.height, width=scene.width).encode(), *rows])


def _packed(light: Floats) -> bytes:
    """The rows without a header; they are packed as those of a narrow or wide file are, which depends on the width."""
    written, file = cv2.imencode(".hdr", np.ascontiguousarray(light[..., ::-1]))
    assert written
    data = file.tobytes()
    return data[data.index(b"\n", data.index(b"\n-Y ") + 1) + 1 :]
