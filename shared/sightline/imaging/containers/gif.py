"""GIF: the size of the canvas stands at the start, the number of frames only the whole file tells."""

import struct

from sightline.imaging.formats import Buffer, ImageFormat, ImageHeader, take, unreadable

SIGNATURES = (b"GIF87a", b"GIF89a")


def read_header(data: Buffer) -> ImageHeader:
    width, height = struct.unpack("<HH", take(data, 6, 4))
    if not width or not height:
        raise unreadable("The GIF header gives a size of zero.")
    return ImageHeader(ImageFormat.GIF, width, height, frames=None, bit_depth=8)
