"""What the pictures of a request take together, and whether decoding them waits for a process."""

from collections.abc import Sequence

from sightline.api.problems import Problem
from sightline.imaging.decoder.pool import needs_process
from sightline.imaging.header import require_header
from sightline.imaging.limits import require_pixels_within


def require_within_budget(pictures: Sequence[bytes], max_request_pixels: int) -> None:
    """Raises Problem TOO_MANY_PIXELS; pictures whose header cannot be read are refused where they are decoded."""
    require_pixels_within(map(_pixels, pictures), max_request_pixels)


def needs_decoder_process(pictures: Sequence[bytes]) -> bool:
    """Whether decoding waits for a process, which blocks a thread without using a core."""
    return any(map(needs_process, pictures))


def _pixels(data: bytes) -> int:
    try:
        return require_header(data).pixels
    except Problem:
        return 0
