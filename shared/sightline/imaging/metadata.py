"""What a container carries beside the pixels, as far as it changes how they are shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """EXIF orientation, 1..8, and the ICC profile as found, not yet checked.

    orientation_ignored: the file has an EXIF orientation where browsers do not heed it; `orientation` is 1 then.
    """

    orientation: int = 1
    icc_profile: bytes | None = None
    orientation_ignored: bool = False
