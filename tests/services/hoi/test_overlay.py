from itertools import combinations

import numpy as np
import pytest

from services.hoi.contract_facts import Role
from services.hoi.interactions import ObjectStatus
from services.hoi.overlay import MIN_LONG_SIDE_PX, Pen, annotate, draw, ink_on, person_colour
from services.hoi.results import HoiReport
from services.hoi.schemas import ScoreFactors
from tests.services.hoi.records import CYCLISTS, act, detection

NOBODY = HoiReport([], [])


def luminance(colour: tuple[int, int, int]) -> float:
    return float(np.dot([(channel / 255) ** 2.2 for channel in colour], [0.2126, 0.7152, 0.0722]))


def test_overlay_without_detections_is_the_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (300, MIN_LONG_SIDE_PX, 3), np.uint8)
    drawn = draw(photo, NOBODY)
    assert np.array_equal(drawn, photo)
    assert not np.shares_memory(drawn, photo)


@pytest.mark.parametrize(("width", "height", "factor"), [(200, 100, 4), (800, 20, 1), (799, 20, 2), (1, 1, 800)])
def test_overlay_enlarges_small_photos(width: int, height: int, factor: int) -> None:
    drawn = draw(np.zeros((height, width, 3), np.uint8), NOBODY)
    assert drawn.shape == (height * factor, width * factor, 3)


@pytest.mark.parametrize("signs", [1, 50, 1000])
@pytest.mark.parametrize(("width", "height"), [(800, 600), (4000, 3000), (12_000, 800), (800, 90), (1, 5000)])
def test_overlay_letters_are_legible(width: int, height: int, signs: int) -> None:
    pen = Pen.fitting(width, height, signs)
    assert 14 <= pen.font.size <= max(14, height / 12)
    assert pen.font.size >= min(max(width, height) / 67, min(width, height) / 20)
    left, top, right, bottom = pen.font.getbbox("person")
    size = pen.size("person")
    assert right - left <= size.width
    assert bottom - top <= size.height


def test_boxes_and_links_have_the_colour_of_their_person() -> None:
    drawn = draw(
        np.full((400, 800, 3), 90, np.uint8),
        HoiReport(
            [detection(0, "person", (50, 100, 150, 380)), detection(1, "bicycle", (550, 100, 700, 380))],
            [act(0, "ride", Role.INSTRUMENT, 1)],
        ),
    )
    colour = np.array(person_colour(0))
    of_person = (np.abs(drawn.astype(int) - colour) < 12).all(-1)
    assert of_person[120:370, 45:55].any(axis=1).all()  # the left side of the box
    assert of_person[:, 120:600].any(axis=0).all()  # the link
    assert of_person[:, 750:].sum() == 0
    assert (drawn[120:370, 695:705] == 255).all(-1).any(axis=1).all()  # the bicycle's box


def test_links_and_boxes_of_uncertain_objects_are_dashed() -> None:
    detections = [detection(0, "person", (50, 100, 150, 380)), detection(1, "bicycle", (550, 100, 700, 380))]
    certain = act(0, "ride", Role.INSTRUMENT, 1)
    uncertain = certain.model_copy(update={"object_status": ObjectStatus.UNCERTAIN})
    photo = np.full((400, 800, 3), 90, np.uint8)

    solid, dashed = (draw(photo, HoiReport(detections, [each])) for each in (certain, uncertain))

    for columns in (slice(695, 705), slice(160, 540)):
        drawn = [int((each[120:370, columns] != 90).any(-1).sum()) for each in (solid, dashed)]
        assert 0.3 * drawn[0] < drawn[1] < 0.9 * drawn[0]


def test_overlay_of_a_crowd_numbers_everyone() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 900, (300, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 90, (300, 2))])
    people = [detection(at, "person", tuple(box)) for at, box in enumerate(boxes.tolist())]
    told = HoiReport(people, [act(at, "look", Role.OBJECT, (at + 1) % 300) for at in range(300)])

    drawn = draw(np.full((1000, 1000, 3), 90, np.uint8), told)

    assert (drawn != 90).any(-1).mean() > 0.2
    assert {tuple(colour) for colour in drawn.reshape(-1, 3)[::7].tolist()} >= {person_colour(0), person_colour(10)}


def test_thin_pictures_have_views() -> None:
    for height, width in ((1, 900), (900, 1), (900, 3), (20, 20)):
        assert draw(np.zeros((height, width, 3), np.uint8), CYCLISTS).shape[2] == 3


def test_neighbouring_people_differ_in_colour_and_numbers_have_contrast() -> None:
    colours = [person_colour(at) for at in range(64)]
    assert min(np.abs(np.subtract(one, other)).max() for one, other in combinations(colours[:8], 2)) > 60
    assert len(set(colours)) == 64
    for colour in colours:
        light, dark = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # the least contrast of WCAG


def test_verbs_of_a_pair_share_one_link() -> None:
    links = [(link.person.id, link.thing.id, link.text) for link in annotate(CYCLISTS).links]

    assert links == [(0, 2, "ride, hold"), (1, 2, "ride"), (0, 1, "look")]


def test_verbs_without_object_are_in_the_persons_label_once() -> None:
    signs = {sign.of.id: sign for sign in annotate(CYCLISTS).box_labels}

    assert {name: sign.text for name, sign in signs.items()} == {
        0: "0",
        1: "1 smile\neat: object not found",
        2: "2 bicycle",
    }
    assert all(sign.takes_part for sign in signs.values())


def test_verb_with_a_filled_role_has_no_label_for_its_empty_role() -> None:
    acts = [act(0, "eat", Role.OBJECT, 1), act(0, "eat", Role.INSTRUMENT)]
    person, _ = annotate(HoiReport([detection(0, "person"), detection(1, "apple")], acts)).box_labels
    assert person.text == "0"


def test_labels_have_the_most_probable_actions_as_words() -> None:
    scores = {"walk": 0.5, "run": 0.2, "work_on_computer": 0.9, "smile": 0.3, "stand": 0.6}
    acts = [
        act(0, verb).model_copy(update={"factors": ScoreFactors(person=0.9, action=score)})
        for verb, score in scores.items()
    ]
    (sign,) = annotate(HoiReport([detection(0, "person")], acts)).box_labels

    assert sign.text == "0 walk, work on computer, stand"


def test_labels_of_two_lines_are_twice_as_high() -> None:
    pen = Pen.fitting(800, 600, 3)
    one, two = pen.size("smile"), pen.size("smile\neat: object not found")
    assert two.height - one.height == pen.line_height_px
    assert two.width == pen.size("eat: object not found").width


def test_labels_of_interacting_people_come_first() -> None:
    told = HoiReport([detection(0, "dog"), detection(1, "cup"), detection(2, "person"), detection(3, "person")], [])
    assert [sign.of.id for sign in annotate(told).box_labels] == [2, 3, 0, 1]
    acting = HoiReport(told.detections, [act(3, "walk")])
    assert [sign.of.id for sign in annotate(acting).box_labels] == [3, 2, 0, 1]
