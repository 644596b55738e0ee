"""All maps in one OpenEXR file: half floats in named layers, packed by ZIP."""

from io import BytesIO

import numpy as np
import OpenEXR

from services.svbrdf.light import LinearPhoto
from services.svbrdf.upsampling import DetailedMaps

LAYERS = ("diffuse.R", "diffuse.G", "diffuse.B", "normal.X", "normal.Y", "normal.Z", "roughness.Y")


def openexr_file(maps: DetailedMaps, photo: LinearPhoto) -> bytes:
    planes = {name: np.empty((photo.height, photo.width), np.float16) for name in LAYERS}
    for rows, band in maps.bands(photo):
        values = np.dstack([band.albedo, band.normal, band.roughness])
        for at, plane in enumerate(planes.values()):
            plane[rows] = values[..., at]
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "comments": "diffuse: linear, base colour of metals; normal: -1..1, y up; roughness: alpha = roughness^2.",
        "software": "Sightline",
    }
    file = BytesIO()
    # Threads of its own would take the cores from other requests.
    OpenEXR.File(header, planes, num_threads=0).write(file)
    return file.getvalue()
