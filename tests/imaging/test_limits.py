import pytest

from sightline.api.problems import Code, Problem
from sightline.imaging.formats import ImageFormat, ImageHeader
from sightline.imaging.limits import PixelLimits

LIMITS = PixelLimits(max_bytes=1000, max_pixels=5000, max_side_px=200)


def _header(width: int, height: int) -> ImageHeader:
    return ImageHeader(ImageFormat.PNG, width, height, 1, 8)


def test_picture_at_the_limits_passes() -> None:
    LIMITS.check(_header(50, 100), 1000)
    LIMITS.check(_header(200, 25), 1)


@pytest.mark.parametrize(
    ("width", "height", "size_bytes", "code", "fact"),
    [
        (50, 100, 1001, Code.TOO_MANY_BYTES, {"max_bytes": 1000}),
        (50, 101, 1000, Code.TOO_MANY_PIXELS, {"max_pixels": 5000, "pixels": 5050}),
        (201, 2, 1000, Code.TOO_MANY_PIXELS, {"max_side_px": 200}),
        (2, 201, 1000, Code.TOO_MANY_PIXELS, {"side_px": 201}),
    ],
)
def test_problem_names_the_limit(width: int, height: int, size_bytes: int, code: Code, fact: dict[str, int]) -> None:
    with pytest.raises(Problem) as caught:
        LIMITS.check(_header(width, height), size_bytes)
    assert caught.value.code is code
    assert fact.items() <= caught.value.facts.items()
    assert all(str(limit) in caught.value.detail for name, limit in fact.items() if name.startswith("max"))
