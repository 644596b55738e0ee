"""What a container carries beside the pixels, as far as it changes how they are shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """EXIF orientation, 1..8, and the ICC profile as found, not yet checked."""

    orientation: int = 1
    icc_profile: bytes | None = None
