"""The whole way with networks whose answers are known."""

import io
import json
from collections.abc import Callable
from math import exp, log, sqrt
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from services.hoi.contract_facts import ContractFacts
from services.hoi.predictor import HoiPredictor, create, signature_for
from services.hoi.schemas import Frame, HoiOptions
from sightline.api.problems import Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Rendered, Upload
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.hoi.conftest import COLOURS, Png, Scene

Ask = Callable[..., Rendered]
Record = dict[str, Any]

LIMITS = PixelLimits(max_bytes=10**8, max_pixels=10**8)
CYCLIST = (("red", 100, 100, 200, 250), ("blue", 90, 250, 210, 400))
BOXES = ([100, 100, 200, 250], [90, 250, 210, 400])


@pytest.fixture
def tell(ask: Ask, png: Png) -> Callable[..., Record]:
    def tell(pixels: NDArray[Any], **options: Any) -> Record:
        record: Record = json.loads(ask(png(pixels), **options).body)
        return record

    return tell


Tell = Callable[..., Record]


def acts(record: Record, action: str) -> list[Record]:
    return [each for each in record["interactions"] if each["action"] == action]


def sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def test_triplet_scores_match_a_hand_calculation(tell: Tell, scene: Scene) -> None:
    record = tell(scene(*CYCLIST))

    assert [(each["id"], each["label"], each["box_xyxy"]) for each in record["detections"]] == [
        (0, "person", BOXES[0]),
        (1, "bicycle", BOXES[1]),
    ]
    (ride,) = acts(record, "ride")
    action, target = sqrt(0.81 * sigmoid(1 + 2 * 0.7)), exp(-(0.5**2 + log(1.2) ** 2) / (2 * 0.5**2))
    assert (ride["person"], ride["object"], ride["role"]) == (0, 1, "instr")
    assert ride["factors"] == pytest.approx(
        {"person": 0.9, "object": 0.7, "action": action, "target": target, "empty_role": None}, abs=1e-5
    )
    assert ride["score"] == pytest.approx(0.9 * 0.7 * action * target, abs=1e-5)
    assert ride["target"] == {"mean_box_xyxy": [100, 175, 200, 325], "sigma": 0.5}


def test_linked_data_actions_without_object(tell: Tell, scene: Scene) -> None:
    record = tell(scene(*CYCLIST))

    (walk,), (hold,) = acts(record, "walk"), acts(record, "hold")
    assert (walk["role"], walk["object"], walk["target"]) == (None, None, None)
    assert walk["factors"] == pytest.approx(
        {"person": 0.9, "object": None, "action": 0.64, "target": None, "empty_role": None}
    )
    assert (hold["role"], hold["object"], hold["factors"]["target"]) == ("obj", None, None)
    assert (walk["object_status"], hold["object_status"]) == (None, "not_found")
    assert hold["score"] == pytest.approx(0.9 * 0.36 * hold["factors"]["empty_role"], abs=1e-5)
    assert hold["target"]["mean_box_xyxy"] == [200, 100, 300, 250]


def test_overlay_layout_of_two_people_with_one_bicycle(tell: Tell, scene: Scene) -> None:
    record = tell(
        scene(("red", 100, 100, 200, 250), ("magenta", 300, 100, 400, 250), ("blue", 200, 180, 300, 330)),
        min_score=0.01,
    )

    assert {(each["person"], each["object"]) for each in acts(record, "ride")} == {(0, 2), (1, 2)}
    assert (0, 1) in {(each["person"], each["object"]) for each in acts(record, "look")}
    assert {each["action"] for each in record["interactions"] if each["person"] == 0} == {
        "ride",
        "hold",
        "look",
        "walk",
    }


def thresholded_score(interaction: dict[str, Any]) -> float:
    """The score, or that of person and action where the object was not found."""
    factors = interaction["factors"]
    if interaction["object_status"] == "not_found":
        return float(factors["person"] * factors["action"])
    return float(interaction["score"])


def test_min_score_and_max_people_limit_the_report(tell: Tell, scene: Scene) -> None:
    two = scene(*CYCLIST, ("magenta", 400, 100, 500, 250))

    assert all(thresholded_score(each) >= 0.4 for each in tell(two, min_score=0.4)["interactions"])
    assert tell(two, min_score=1)["interactions"] == []
    one = tell(two, max_people=1)
    assert {each["person"] for each in one["interactions"]} == {0}
    assert (one["people_found"], one["evidence"]["notes"]) == (2, ["people-left-out"])
    nobody = tell(two, max_people=0)
    assert (nobody["interactions"], len(nobody["detections"])) == ([], 3)


def test_low_scoring_detection_is_reported_only_in_an_interaction(tell: Tell, scene: Scene) -> None:
    seen = scene(*CYCLIST, ("green", 500, 400, 550, 450))

    assert [each["label"] for each in tell(seen)["detections"]] == ["person", "bicycle", "dog"]
    sure = tell(seen, min_detection_score=0.95)
    assert [(each["id"], each["label"]) for each in sure["detections"]] == [(0, "person"), (1, "bicycle")]


def test_interactions_of_low_scoring_people_are_hidden(tell: Tell, scene: Scene) -> None:
    seen = scene(*CYCLIST, ("cyan", 400, 100, 500, 250))

    both, surer = tell(seen, min_detection_score=0.7), tell(seen, min_detection_score=0.8)

    assert {each["person"] for each in both["interactions"]} == {0, 2}
    assert {each["person"] for each in surer["interactions"]} == {0}
    assert [each["label"] for each in surer["detections"]] == ["person", "bicycle"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_the_requested_frame(ask: Ask, scene: Scene, orientation: int) -> None:
    stored, exif = scene(*CYCLIST), Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)

    told = {frame: json.loads(ask(file.getvalue(), frame=frame, min_score=0).body) for frame in ("displayed", "stored")}

    assert [each["box_xyxy"] for each in told["stored"]["detections"]] == list(BOXES)
    assert (told["stored"]["width"], told["stored"]["height"]) == (640, 480)
    size = (told["displayed"]["width"], told["displayed"]["height"])
    assert size == ((480, 640) if orientation > 4 else (640, 480))
    assert (told["displayed"]["detections"] == told["stored"]["detections"]) == (orientation == 1)


def test_overlay_of_a_rotated_photo_is_upright(ask: Ask, png: Png, scene: Scene) -> None:
    upright, exif = scene(*CYCLIST), Image.Exif()
    exif[0x0112] = 6
    turned = png(np.ascontiguousarray(np.rot90(upright)), exif=exif)

    drawn, expected = (decode(ask(data, accept="image/png").body, LIMITS) for data in (turned, png(upright)))

    assert drawn.orientation == 6
    assert np.array_equal(drawn.pixels, expected.pixels)
    assert not np.array_equal(expected.pixels[::2, ::2], upright)


def test_samples_have_the_sizes_of_the_detector(facts: ContractFacts) -> None:
    sizes = {(bucket["w"], bucket["h"]) for bucket in signature_for(facts).buckets}
    assert sizes == {(128, 64), (128, 96), (128, 128), (64, 128), (96, 128)}


@pytest.mark.parametrize("accept", ["application/json", "image/png", "image/jpeg", "application/ld+json"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (900, 2), (33, 47)])
def test_odd_sizes_and_blank_pictures_are_accepted(ask: Ask, png: Png, size: tuple[int, int], accept: str) -> None:
    for tone in (0, 255):
        for tiles in (False, True):
            reply = ask(png(np.full((*size, 3), tone, np.uint8)), accept=accept, tiles=tiles)
            assert reply.media_type == accept
    if accept == "application/json":
        record = json.loads(reply.body)
        assert (record["detections"], record["interactions"], record["people_found"]) == ([], [], 0)


def test_photo_of_a_single_person(tell: Tell, scene: Scene) -> None:
    record = tell(scene(("red", 0, 0, 1, 300), width=1, height=300))

    assert record["detections"][0]["box_xyxy"] == [0, 0, 1, 300]
    assert {each["action"] for each in record["interactions"]} == {"ride", "hold", "look", "walk"}


def test_grey_16_bit_and_transparent_photos_are_accepted(ask: Ask, tell: Tell, png: Png, scene: Scene) -> None:
    pixels = scene(*CYCLIST)
    plain = tell(pixels)["detections"]

    assert tell(pixels[..., 0])["detections"] == []
    deep = bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))
    assert json.loads(ask(deep).body)["detections"] == plain
    clear = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])
    assert tell(clear)["detections"] == plain
    assert Image.open(io.BytesIO(ask(png(clear), accept="image/png").body)).mode == "RGB"


def test_boxes_of_a_large_jpeg_are_in_its_own_pixels(ask: Ask, scene: Scene) -> None:
    file, pixels = io.BytesIO(), scene(*CYCLIST).repeat(4, 0).repeat(4, 1)
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    record = json.loads(ask(file.getvalue()).body)

    assert (record["width"], record["height"]) == (2560, 1920)
    for each, box in zip(record["detections"], BOXES, strict=True):
        assert each["box_xyxy"] == pytest.approx([4 * side for side in box], abs=41)  # a pixel of the detector


def test_tiles_find_small_people(tell: Tell, scene: Scene) -> None:
    small = scene(("red", 302, 201, 306, 211), ("blue", 302, 208, 307, 216))

    assert tell(small)["detections"] == []
    record = tell(small, tiles=True, max_tiles=500)
    assert [each["box_xyxy"] for each in record["detections"]] == [[302, 201, 306, 208], [302, 208, 307, 216]]
    assert acts(record, "ride")[0]["object"] == 1
    assert record["sight"]["scale"] == 1
    assert record["sight"]["views"] > 20


def test_merged_tiles_have_each_object_once_and_whole(tell: Tell, scene: Scene) -> None:
    every = scene(*CYCLIST, ("green", 500, 400, 550, 450))
    plain, tiled = tell(every), tell(every, tiles=True)

    assert [each["label"] for each in tiled["detections"]] == ["person", "bicycle", "dog"]
    for one, other in zip(plain["detections"], tiled["detections"], strict=True):
        assert other["box_xyxy"] == pytest.approx(one["box_xyxy"], abs=6)


def test_actions_of_people_in_a_tile_come_from_the_tile(tell: Tell, scene: Scene) -> None:
    """The tests' network takes people for looking where its picture is bright, which only the tile is."""
    photo = scene(tone=0)
    photo[100:330, 200:430] = 230
    photo[201:211, 302:306] = (255, 0, 0)
    photo[201:211, 310:314] = (255, 0, 255)

    record = tell(photo, tiles=True, max_tiles=500, min_score=0)

    (look, *_) = [each for each in acts(record, "look") if each["person"] == 0 and each["object"] is not None]
    in_the_dark = sqrt(0.25 * sigmoid(0.8))
    assert look["factors"]["action"] > in_the_dark + 0.02


def test_tiled_photo_reports_its_progress(blobs: Weights, png: Png, scene: Scene) -> None:
    predictor = HoiPredictor(blobs, ServiceSettings())
    plan = predictor.predict(predictor.read(Upload({"image": [png(scene())]}, HoiOptions(tiles=True))))
    round_ = next(plan)
    assert getattr(round_, "done", None) == 0
    assert 1 <= len(round_) <= 8
    plan.close()


SIDES = st.integers(1, 500)
SHARES = st.floats(0, 1)


@given(
    width=SIDES,
    height=SIDES,
    corners=st.dictionaries(st.sampled_from(list(COLOURS)), st.tuples(SHARES, SHARES, SHARES, SHARES)),
    options=st.fixed_dictionaries(
        {"min_score": SHARES, "max_people": st.integers(0, 2), "objects_per_role": st.integers(1, 4)},
        optional={"tiles": st.booleans(), "frame": st.sampled_from(Frame), "min_detection_score": SHARES},
    ),
)
@settings(max_examples=60, deadline=None)
def test_report_is_consistent(
    ask: Ask,
    png: Png,
    width: int,
    height: int,
    corners: dict[str, tuple[float, float, float, float]],
    options: dict[str, Any],
) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    for colour, (x0, y0, x1, y1) in corners.items():
        rows, columns = (sorted((int(a * side), int(b * side))) for a, b, side in ((y0, y1, height), (x0, x1, width)))
        pixels[slice(*rows), slice(*columns)] = COLOURS[colour]

    record = json.loads(ask(png(pixels), **options).body)

    things = {each["id"]: each for each in record["detections"]}
    for thing in things.values():
        left, top, right, bottom = thing["box_xyxy"]
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
    scores = [each["score"] for each in record["interactions"]]
    assert scores == sorted(scores, reverse=True)
    assert all(thresholded_score(each) >= options["min_score"] - 1e-6 for each in record["interactions"])
    assert len({each["person"] for each in record["interactions"]}) <= options["max_people"]
    for each in record["interactions"]:
        assert things[each["person"]]["label"] == "person"
        assert each["object"] is None or (each["object"] in things and each["object"] != each["person"])
        assert (each["object"] is None) == (each["factors"]["target"] is None) == (each["factors"]["object"] is None)
        factors = [factor for factor in each["factors"].values() if factor is not None]
        assert each["score"] == pytest.approx(np.prod(factors), abs=1e-5)


def test_notes_are_in_header_and_record(ask: Ask, scene: Scene) -> None:
    frames, file = [Image.fromarray(scene(*CYCLIST)), Image.fromarray(scene())], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])

    assert ask(file.getvalue(), accept="image/png").headers["X-Sightline-Notes"] == "first-frame-only"
    assert json.loads(ask(file.getvalue()).body)["evidence"]["notes"] == ["first-frame-only"]


@pytest.mark.parametrize(
    "options",
    [
        {"min_score": -0.1},
        {"min_score": float("nan")},
        {"min_detection_score": 2},
        {"max_people": 5000},
        {"objects_per_role": 0},
        {"max_tiles": 0},
        {"max_tiles": 10_000},
        {"frame": "turned"},
        {"tiles": "perhaps"},
        {"a": 1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HoiOptions(**options)


def test_invalid_facts_are_a_contract_error(ask: Ask, png: Png) -> None:
    for data in (b"", b"no picture", png(np.zeros((9, 9, 3), np.uint8))[:40]):
        with pytest.raises(Problem):
            ask(data)


def test_missing_weights_are_an_error(tmp_path: Any) -> None:
    with pytest.raises(ContractError, match="weights cannot be read"):
        create(ServiceSettings(weights=tmp_path / "none.onnx"))
