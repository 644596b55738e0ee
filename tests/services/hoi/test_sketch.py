from services.hoi.facts import Role
from services.hoi.record import Told
from services.hoi.sketch import sketch
from tests.services.hoi.telling import CYCLISTS, act, detection


def test_verbs_of_a_pair_stand_at_one_link() -> None:
    links = [(link.person.id, link.thing.id, link.text) for link in sketch(CYCLISTS).links]

    assert links == [(0, 2, "ride, hold"), (1, 2, "ride"), (0, 1, "look")]


def test_verbs_without_object_stand_at_the_person_once() -> None:
    signs = {sign.of.id: sign for sign in sketch(CYCLISTS).signs}

    assert {name: sign.text for name, sign in signs.items()} == {0: "0", 1: "1 smile, eat ?", 2: "2 bicycle"}
    assert all(sign.takes_part for sign in signs.values())


def test_a_role_left_empty_is_not_told_where_another_is_filled() -> None:
    acts = [act(0, "eat", Role.OBJECT, 1), act(0, "eat", Role.INSTRUMENT)]
    person, _ = sketch(Told([detection(0, "person"), detection(1, "apple")], acts)).signs
    assert person.text == "0"


def test_long_lists_are_cut_and_names_are_words() -> None:
    verbs = ("work_on_computer", "walk", "run", "smile", "stand")
    (sign,) = sketch(Told([detection(0, "person")], [act(0, verb) for verb in verbs])).signs

    assert sign.text == "0 work on computer, walk, run, +2"


def test_who_takes_part_comes_first_and_people_before_things() -> None:
    told = Told([detection(0, "dog"), detection(1, "cup"), detection(2, "person"), detection(3, "person")], [])
    assert [sign.of.id for sign in sketch(told).signs] == [2, 3, 0, 1]
    acting = Told(told.detections, [act(3, "walk")])
    assert [sign.of.id for sign in sketch(acting).signs] == [3, 2, 0, 1]
