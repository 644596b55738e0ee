import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from services.inpaint.predictor import InpaintPredictor, create
from sightline.api.problems import Code, Problem
from sightline.imaging.colour_spaces.conversion import from_srgb, to_srgb
from sightline.imaging.colour_spaces.tags import png_chunk
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Rendered
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings

LIMITS = PixelLimits(max_bytes=10**8, max_pixels=10**8, max_side_px=10**5)
TONE = 64  # what the tests' networks paint

Png = Callable[..., bytes]
Ask = Callable[..., Rendered]


@dataclass(frozen=True, slots=True)
class Sent:
    pixels: NDArray[Any]
    hole: NDArray[np.bool_]


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def irregular(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Returns a mask of 0 and 255, with holes in a few boxes that may touch the border; the first pixel is known."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 6)):
        top, left = rng.integers(height), rng.integers(width)
        mask[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = 255
    mask[0, 0] = 0
    return mask


def opened(reply: Rendered) -> NDArray[Any]:
    with Image.open(io.BytesIO(reply.body)) as image:
        return np.asarray(image)


def pixels_16(data: bytes) -> NDArray[Any]:
    picture = decode(data, LIMITS)
    assert picture.bit_depth == 16
    return picture.pixels


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["L", "LA", "RGB", "RGBA", "P"]),
)
def test_known_pixels_are_bit_identical(ask: Ask, png: Png, height: int, width: int, seed: int, mode: str) -> None:
    image = Image.fromarray(noise(seed, height, width, 4))
    image = (image.convert("RGB") if mode == "P" else image).convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    mask = irregular(seed, height, width)
    back = opened(ask(image=file.getvalue(), mask=png(mask)))
    sent = np.asarray(image.convert("RGB") if mode == "P" else image)
    assert back.shape == sent.shape
    assert back.dtype == sent.dtype
    assert np.array_equal(back[mask == 0], sent[mask == 0])


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 300), st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_known_pixels_are_bit_identical_with_16_bits(ask: Ask, png: Png, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 65536, (height, width, 3), np.uint16)
    mask = irregular(seed, height, width)
    back = pixels_16(ask(image=imagecodecs.png_encode(pixels), mask=png(mask)).body)
    assert np.array_equal(back[mask == 0], pixels[mask == 0])


def test_network_paints_holes(ask: Ask, png: Png) -> None:
    pixels = np.full((500, 600, 3), TONE, np.uint8)
    mask = np.zeros((500, 600), np.uint8)
    mask[100:380, 250:] = 255
    pixels[mask == 255] = 0
    assert np.abs(opened(ask(image=png(pixels), mask=png(mask))).astype(int) - TONE).max() <= 1


def test_grey_photo_stays_grey(ask: Ask, png: Png) -> None:
    pixels, mask = np.full((90, 80), TONE, np.uint8), np.zeros((90, 80), np.uint8)
    mask[20:50, 30:80] = 255
    back = opened(ask(image=png(pixels), mask=png(mask)))
    assert back.shape == (90, 80)
    assert np.abs(back.astype(int) - TONE).max() <= 1


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "tags",
    [
        png_chunk(b"gAMA", (100_000).to_bytes(4, "big")),
        png_chunk(b"cICP", b"\x0c\x0d\0\1"),
        png_chunk(b"cICP", b"\x09\x10\0\1"),
    ],
    ids=["gamma-1", "display-p3", "pq-bt2020"],
)
def test_colour_tags_are_kept(ask: Ask, png: Png, tags: bytes, *, deep: bool) -> None:
    """Filled pixels are converted from sRGB to the photo's colour space; all others are unchanged."""
    pixels = np.zeros((90, 80, 3), np.uint16 if deep else np.uint8)
    mask = np.zeros((90, 80), np.uint8)
    mask[20:50, 30:80] = 255

    def tagged() -> bytes:
        plain = bytes(imagecodecs.png_encode(pixels))
        return plain[:33] + tags + plain[33:]

    pixels[mask == 0] = from_srgb(np.full((1, 3), TONE, np.uint8), decode(tagged(), LIMITS))
    reply = ask(image=tagged(), mask=png(mask))
    assert reply.body[33:].startswith(tags)
    picture = decode(reply.body, LIMITS)
    assert np.array_equal(picture.pixels[mask == 0], pixels[mask == 0])
    assert np.abs(to_srgb(picture)[mask == 255].astype(int) - TONE).max() <= (1 if deep else 4)


def test_notes_name_losses_of_the_format(ask: Ask, png: Png) -> None:
    deep = bytes(imagecodecs.png_encode(noise(1, 40, 50, 3).astype(np.uint16) * 257))
    regions = {"regions": '{"boxes": [[5, 5, 30, 30]]}'}
    for asked, notes in (("png", None), ("jpeg", "reduced-to-8-bit"), ("webp", "reduced-to-8-bit")):
        reply = ask(image=deep, options=regions | {"format": asked})
        assert reply.headers.get("X-Sightline-Notes") == notes


def test_alpha_used_as_mask_becomes_opaque(ask: Ask, png: Png) -> None:
    pixels = np.full((60, 70, 4), 200, np.uint8)
    pixels[10:30, 20:40] = 0
    back = opened(ask(image=png(pixels)))
    assert (back[10:30, 20:40, 3] == 255).all()
    known = np.ones((60, 70), bool)
    known[10:30, 20:40] = False
    assert np.array_equal(back[known], pixels[known])


def test_alpha_is_kept_beside_another_mask(ask: Ask, png: Png) -> None:
    pixels = np.concatenate([noise(1, 60, 70, 3), np.full((60, 70, 1), 77, np.uint8)], 2)
    reply = ask(image=png(pixels), options={"regions": '{"boxes": [[5, 5, 30, 30]]}'})
    assert np.array_equal(opened(reply)[..., 3], pixels[..., 3])


def test_rotated_photo_with_mask_in_the_displayed_frame(ask: Ask, png: Png) -> None:
    stored, exif = noise(2, 40, 70, 3), Image.Exif()
    exif[0x0112] = 6
    mask = np.zeros((70, 40), np.uint8)
    mask[3:20, 5:15] = 255
    reply = ask(image=png(stored, exif=exif), mask=png(mask))
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.getexif()[0x0112] == 6
        assert image.size == (70, 40)
    hole = np.rot90(mask == 255)  # orientation 6 rotates clockwise: the stored frame is rotated the other way
    back = opened(reply)
    assert np.array_equal(back[~hole], stored[~hole])
    assert (back[hole] != stored[hole]).any(1).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 2), (3, 5000), (1500, 2), (257, 511)])
def test_odd_sizes_keep_their_size(ask: Ask, png: Png, size: tuple[int, int]) -> None:
    pixels, mask = noise(3, *size, 3), np.zeros(size, np.uint8)
    mask[:, size[1] // 2 :] = 255
    back = opened(ask(image=png(pixels), mask=png(mask)))
    assert back.shape == pixels.shape
    assert np.array_equal(back[mask == 0], pixels[mask == 0])


def test_single_pixel_cannot_be_a_hole(ask: Ask, png: Png) -> None:
    pixel = np.full((1, 1), 255, np.uint8)
    with pytest.raises(Problem) as caught:
        ask(image=png(pixel), mask=png(pixel))
    assert caught.value.code is Code.BAD_MASK
    assert opened(ask(image=png(pixel), mask=png(pixel * 0))).tolist() == [[255]]


def test_empty_mask_returns_the_photo_with_a_note(ask: Ask, png: Png) -> None:
    pixels = noise(4, 30, 40, 3)
    reply = ask(image=png(pixels), mask=png(np.zeros((30, 40), np.uint8)))
    assert np.array_equal(opened(reply), pixels)
    assert reply.headers["X-Sightline-Synthesised-Share"] == "0.000000"
    assert reply.headers["X-Sightline-Notes"] == "empty-mask"


@pytest.mark.parametrize(("asked", "got"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_format_option_takes_precedence_over_accept(ask: Ask, png: Png, asked: str, got: str) -> None:
    options = {"format": asked, "regions": '{"boxes": [[5, 5, 30, 30]]}'}
    reply = ask(image=png(noise(5, 60, 50, 3)), options=options, accept="image/webp")
    assert reply.media_type == f"image/{asked}"
    with Image.open(io.BytesIO(reply.body)) as image:
        assert (image.format, image.size) == (got, (50, 60))


@pytest.mark.parametrize("accept", ["image/png", "image/webp"])
def test_map_marks_synthesised_pixels(ask: Ask, png: Png, accept: str) -> None:
    options = {"output": "map", "regions": '{"boxes": [[5, 6, 30, 20]]}'}
    back = opened(ask(image=png(noise(6, 60, 50, 4)), options=options, accept=accept))
    expected = np.zeros((60, 50), np.uint8)
    expected[6:20, 5:30] = 255
    assert np.array_equal(back if back.ndim == 2 else back[..., 0], expected)


def test_map_is_never_lossy(ask: Ask, png: Png) -> None:
    with pytest.raises(Problem) as caught:
        ask(
            image=png(noise(6, 60, 50, 3)),
            options={"output": "map", "regions": '{"boxes": [[5, 6, 30, 20]]}'},
            accept="image/jpeg",
        )
    assert caught.value.code is Code.NOT_ACCEPTABLE


def test_record_describes_regions_and_passes(ask: Ask, png: Png) -> None:
    options = {"regions": '{"boxes": [[5, 6, 30, 20], [40, 40, 45, 45]]}', "format": "jpeg"}
    reply = ask(image=png(noise(7, 60, 50, 3)), options=options, accept="application/json")
    record = json.loads(reply.body)
    assert (record["width"], record["height"], record["mask_source"]) == (50, 60, "regions")
    assert record["synthesised_pixels"] == 25 * 14 + 25
    assert record["synthesised_share"] == pytest.approx(375 / 3000)
    assert record["region_count"] == 2
    assert record["regions"][0] == {"box_xyxy": [5, 6, 30, 20], "pixels": 350}
    assert record["passes"] == [{"scale": 1, "windows": 1, "sides_px": [256]}]
    assert record["evidence"]["parameters"]["regions"]["boxes"] == [[5, 6, 30, 20], [40, 40, 45, 45]]


def test_tiff_photo_returns_png(ask: Ask, png: Png) -> None:
    file, pixels = io.BytesIO(), noise(8, 40, 50, 3)
    tifffile.imwrite(file, pixels, photometric="rgb")
    mask = irregular(8, 40, 50)
    back = opened(ask(image=file.getvalue(), mask=png(mask)))
    assert np.array_equal(back[mask == 0], pixels[mask == 0])


def test_fixed_size_weights_fill_holes(ask_lama: Ask, png: Png) -> None:
    for size in ((40, 30), (700, 900)):
        pixels, mask = np.full((*size, 3), TONE, np.uint8), np.zeros(size, np.uint8)
        mask[10:30, 5:28] = 255
        pixels[mask == 255] = 255
        back = opened(ask_lama(image=png(pixels), mask=png(mask)))
        assert np.abs(back.astype(int) - TONE).max() <= 1


def test_oblong_weights_are_refused(lama_like: Weights, settings: ServiceSettings) -> None:
    contract = lama_like.contract.model_copy(update={"fixed_size": (512, 256)})
    with pytest.raises(ContractError, match="square"):
        InpaintPredictor(replace(lama_like, contract=contract), settings)


def test_create_loads_replaced_weights(lama_like: Weights) -> None:
    predictor = create(ServiceSettings(weights=lama_like.path))
    assert predictor.declaration.route == "/v1/inpaint"
    assert predictor.weights.identity("inpaint").version == "2021.1"
    assert predictor.card.startswith("#")
