"""What the tests of several services draw with."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    def png(pixels: NDArray[Any], **options: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", **options)
        return file.getvalue()

    return png
