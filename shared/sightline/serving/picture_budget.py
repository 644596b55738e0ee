"""What the pictures of a request may take together, and on which threads they are decoded."""

from collections.abc import Sequence

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder_pool import needs_process
from sightline.imaging.header import require_header


def require_pixels_within(pictures: Sequence[bytes], max_request_pixels: int) -> None:
    """Raises Problem TOO_MANY_PIXELS; pictures whose header cannot be read are refused where they are decoded."""
    pixels = sum(map(_pixels, pictures))
    if pixels > max_request_pixels:
        raise Problem(
            Code.TOO_MANY_PIXELS,
            f"The pictures of the request have {pixels} pixels together; at most {max_request_pixels} are allowed. "
            "Send fewer pictures in one request.",
            pixels=pixels,
            max_request_pixels=max_request_pixels,
        )


def need_process(pictures: Sequence[bytes]) -> bool:
    """Whether decoding waits for a process, which blocks a thread without using a core."""
    return any(map(needs_process, pictures))


def _pixels(data: bytes) -> int:
    try:
        return require_header(data).pixels
    except Problem:
        return 0
