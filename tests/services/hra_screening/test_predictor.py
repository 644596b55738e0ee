import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.hra_screening.predictor import ScreeningPredictor
from sightline.api.problems import Code, Problem
from sightline.api.screening import CATEGORIES, Category
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Rendered
from sightline.inference.weights import Weights, load_weights
from sightline.serving.settings import ServiceSettings

Ask = Callable[..., Rendered]
Plain = Callable[..., bytes]
Png = Callable[..., bytes]

BITMAP = b"BM" + bytes(52)


def results(reply: Rendered) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(reply.body)["results"]
    return listed


@pytest.fixture(scope="module")
def halves(png: Png) -> bytes:
    """Red on the left, black on the right."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:, :60, 0] = 255
    return png(pixels)


@pytest.mark.parametrize(
    ("colour", "category"),
    [("red", "arms"), ("green", "environment"), ("blue", "out_of_school"), ("dark", "no_violation")],
)
def test_probability_above_the_threshold_is_decided(ask: Ask, plain: Plain, colour: str, category: str) -> None:
    (found,) = results(ask(plain(colour)))
    assert found["decision"] == found["most_likely"] == category
    assert found["probabilities"][category] > 0.85
    assert found["needs_review"] is (category != "no_violation")
    assert (found["threshold"], found["threshold_version"]) == (0.85, "1.0")
    assert (found["width"], found["height"]) == (120, 90)


def test_probabilities_are_of_nine_classes_in_alphabetical_order_and_of_sum_1(ask: Ask, plain: Plain) -> None:
    (found,) = results(ask(plain("red")))
    assert list(found["probabilities"]) == sorted(found["probabilities"]) == list(CATEGORIES)
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["violation_probability"] == pytest.approx(1 - found["probabilities"]["no_violation"])


def test_probability_below_the_threshold_abstains_and_needs_review(ask: Ask, halves: bytes, plain: Plain) -> None:
    (found,) = results(ask(halves))
    assert found["decision"] == "abstain"
    assert found["needs_review"]
    (strict,) = results(ask(plain("dark"), threshold=1.0))
    assert (strict["decision"], strict["needs_review"]) == ("abstain", True)
    assert (strict["threshold"], strict["threshold_version"]) == (1.0, "request")
    (loose,) = results(ask(halves, threshold=0.0))
    assert loose["decision"] == loose["most_likely"]


def test_support_names_classes_with_too_few_pictures(ask: Ask, plain: Plain) -> None:
    support = json.loads(ask(plain("red")).body)["support"]
    assert list(support) == list(CATEGORIES)
    assert support["arms"] == {"images": 300, "supported": True}
    assert support["child_marriage"] == {"images": 8, "supported": False}
    assert support["environment"] == {"images": None, "supported": None}


def test_results_of_many_pictures_keep_their_order(ask: Ask, plain: Plain) -> None:
    colours = ["red", "green", "blue", "dark"] * 5
    found = results(ask(*(plain(colour) for colour in colours)))
    assert [each["index"] for each in found] == list(range(20))
    assert [each["decision"] for each in found] == ["arms", "environment", "out_of_school", "no_violation"] * 5


def test_unreadable_picture_among_others_fails_alone(ask: Ask, plain: Plain) -> None:
    found = results(ask(plain("red"), BITMAP, b"", plain("green")))
    assert [each.get("decision") for each in found] == ["arms", None, None, "environment"]
    assert [each["problem"]["code"] for each in found[1:3]] == ["unsupported_format", "unreadable_image"]
    assert len(found[1]["sha256"]) == 64


@pytest.mark.parametrize(("data", "code"), [(BITMAP, Code.UNSUPPORTED_FORMAT), (b"", Code.UNREADABLE_IMAGE)])
def test_single_unreadable_picture_fails_the_request(ask: Ask, data: bytes, code: Code) -> None:
    with pytest.raises(Problem) as caught:
        ask(data)
    assert caught.value.code is code


def test_request_with_only_unreadable_pictures_has_a_result_for_each(ask: Ask) -> None:
    assert [each["problem"]["code"] for each in results(ask(b"x", b"y"))] == ["unreadable_image"] * 2


def test_picture_of_too_many_pixels_fails_alone(ask: Ask, plain: Plain) -> None:
    found = results(ask(plain("red"), plain("red", 1100, 1100)))
    assert found[1]["problem"]["code"] == "too_many_pixels"


def test_heat_map_is_highest_at_the_evidence(ask: Ask, halves: bytes) -> None:
    (found,) = results(ask(halves, heat_map=True, category="arms"))
    chances = np.array(found["heat_map"]["probabilities"])
    assert chances.shape == (4, 4)
    assert chances[:, :2].min() > 0.85
    assert chances[:, 2:].max() < 0.1
    logits = np.array(found["heat_map"]["logits"])
    assert logits[:, :2].min() > logits[:, 2:].max()


def test_optional_parts_of_the_record_are_absent_by_default(ask: Ask, halves: bytes) -> None:
    (found,) = results(ask(halves))
    assert found["heat_map"] is None
    assert found["embedding"] is None


def test_embeddings_of_similar_pictures_are_near(ask: Ask, plain: Plain) -> None:
    red, dark_red, green = (
        np.array(each["embedding"])
        for each in results(ask(plain("red"), plain("red", 40, 40), plain("green"), embedding=True))
    )
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ dark_red > 0.99 > red @ green


def read(reply: Rendered) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(reply.body)))


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_overlay_has_the_size_of_the_picture(ask: Ask, halves: bytes, media_type: str) -> None:
    reply = ask(halves, accept=media_type, category="arms")
    pixels = read(reply).astype(int)
    assert reply.media_type == media_type
    assert pixels.shape == (80, 120, 3)
    assert reply.headers["X-Sightline-Decision"] == "abstain"
    assert reply.headers["X-Sightline-Category"] == "arms"
    assert pixels[:, :45, 1].mean() > 60  # the colour of heat lies over pure red
    assert pixels[:, 75:].max() < 30


def test_overlay_has_the_orientation_of_the_photo(ask: Ask, png: Png) -> None:
    """EXIF orientation 6: the stored picture is shown turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((60, 100, 3), np.uint8)
    (found,) = results(ask(png(pixels, exif=exif)))
    assert (found["width"], found["height"]) == (60, 100)
    overlay = Image.open(io.BytesIO(ask(png(pixels, exif=exif), accept="image/png").body))
    assert overlay.size == (100, 60)
    assert overlay.getexif()[0x0112] == 6


def test_overlay_of_several_pictures_is_not_acceptable(ask: Ask, plain: Plain) -> None:
    with pytest.raises(Problem) as caught:
        ask(plain("red"), plain("red"), accept="image/png")
    assert caught.value.code is Code.NOT_ACCEPTABLE
    assert caught.value.facts["offered"] == ["application/json"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "CMYK"])
def test_pictures_of_any_mode_are_screened(ask: Ask, mode: str) -> None:
    file = io.BytesIO()
    image = Image.new("L", (30, 20), 90)
    image = Image.fromarray(np.full((20, 30), 9000, np.uint16)) if mode == "I;16" else image.convert(mode)
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert results(ask(file.getvalue()))[0]["most_likely"] in set(Category)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 900), (900, 1), (3, 2)])
def test_pictures_of_odd_sizes_are_screened(ask: Ask, plain: Plain, height: int, width: int) -> None:
    (found,) = results(ask(plain("red", height, width)))
    assert found["decision"] == "arms"
    assert read(ask(plain("red", height, width), accept="image/png")).shape == (height, width, 3)


def test_perceptual_hashes_of_copies_are_near(ask: Ask) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    large = Image.fromarray(noise).resize((400, 300), Image.Resampling.BICUBIC)
    files = [io.BytesIO() for _ in range(2)]
    large.save(files[0], "PNG")
    large.resize((200, 150)).save(files[1], "JPEG", quality=60)
    first, second = (int(each["perceptual_hash"], 16) for each in results(ask(*(file.getvalue() for file in files))))
    assert (first ^ second).bit_count() <= 6


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("threshold = 0.85", "threshold = 85", "threshold"),
        ("arms = 300", "weapons = 300", "support"),
        ("threshold_version", "treshold_version", "treshold_version"),
        ("fixed_size = [64, 64]", "fixed_size = [64, 32]", "square"),
    ],
)
def test_weights_with_invalid_facts_are_refused(
    tmp_path: Path, colours: Weights, settings: ServiceSettings, before: str, after: str, fault: str
) -> None:
    contract = tmp_path / "own.toml"
    contract.write_text(colours.path.with_suffix(".toml").read_text().replace(before, after))
    with pytest.raises(ContractError, match=fault):
        ScreeningPredictor(load_weights(colours.path, contract, shipped=False), settings)
