"""OpenEXR files: half floats, packed by ZIP."""

from io import BytesIO

import numpy as np
import OpenEXR

from services.hdr_correct.scene import Scene

BRIGHTEST = np.float32(65_504)  # of half floats
CHROMATICITIES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)


def openexr_file(scene: Scene) -> bytes:
    light = np.empty((scene.height, scene.width, 3), np.float16)
    for rows, values in scene.bands():
        light[rows] = np.minimum(values, BRIGHTEST)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": CHROMATICITIES,
        "comments": "Linear light; 1.0 is the white of a well-exposed photo.",
        "software": "Sightline",
    }
    file = BytesIO()
    # Threads of its own would take the cores from other requests.
    OpenEXR.File(header, {"RGB": light}, num_threads=0).write(file)
    return file.getvalue()
