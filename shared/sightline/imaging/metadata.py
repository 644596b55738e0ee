"""What a container carries beside the pixels, as far as it changes how they are shown."""

from dataclasses import dataclass

from sightline.imaging.colour_spaces.tags import ColourTags


@dataclass(frozen=True, slots=True)
class Metadata:
    """EXIF orientation, 1..8, and the ICC profile or the colour tags as found, not yet checked.

    colour_tags: only where they take precedence over a profile or there is none; colour_tags_ignored: the file has some
    that are broken or unknown.
    orientation_ignored: the file has an EXIF orientation where browsers do not heed it; `orientation` is 1 then.
    """

    orientation: int = 1
    icc_profile: bytes | None = None
    orientation_ignored: bool = False
    colour_tags: ColourTags | None = None
    colour_tags_ignored: bool = False
