"""Writers of OpenEXR and Radiance files, for linear light in the primaries of sRGB."""

from collections.abc import Iterable, Mapping
from io import BytesIO

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from sightline.imaging.bit_depth import Floats

MAX_HALF = np.float32(65_504)
SRGB_CHROMATICITIES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
RADIANCE_HEADER = """\
#?RADIANCE
# {comment}
SOFTWARE=Sightline
PRIMARIES=0.6400 0.3300 0.3000 0.6000 0.1500 0.0600 0.3127 0.3290
FORMAT=32-bit_rle_rgbe

-Y {height} +X {width}
"""


def encode_openexr(channels: Mapping[str, NDArray[np.float16]], comment: str, *, is_srgb: bool = False) -> bytes:
    """An OpenEXR file of half floats, packed by ZIP.

    channels: (h, w) or, as `RGB`, (h, w, 3), by their names; is_srgb: whether the primaries of sRGB are declared.
    """
    chromaticities = {"chromaticities": SRGB_CHROMATICITIES} if is_srgb else {}
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        **chromaticities,
        "comments": comment,
        "software": "Sightline",
    }
    file = BytesIO()
    # Threads of its own would take the cores from other requests.
    OpenEXR.File(header, dict(channels), num_threads=0).write(file)
    return file.getvalue()


def encode_radiance(bands: Iterable[Floats], comment: str, *, width: int, height: int) -> bytes:
    """A Radiance .hdr file: 8 bits per channel and a common exponent, each row run-length encoded.

    bands: rows (n, width, 3) from top to bottom.
    """
    header = RADIANCE_HEADER.format(comment=comment, height=height, width=width)
    return b"".join([header.encode(), *map(_encode_rows, bands)])


def _encode_rows(light: Floats) -> bytes:
    """The encoded rows without a header. Their encoding depends on the width, so that bands can be joined."""
    written, file = cv2.imencode(".hdr", np.ascontiguousarray(light[..., ::-1]))
    assert written
    data = file.tobytes()
    return data[data.index(b"\n", data.index(b"\n-Y ") + 1) + 1 :]
