import json

import pytest

from sightline.api.problems import Code, Problem
from sightline.imaging.regions import Regions, parse_regions


def test_polygons_and_boxes_are_parsed() -> None:
    regions = parse_regions('{"polygons": [[[1, 2], [3, 4.5], [5, 6]]], "boxes": [[1, 2, 3, 4]]}')
    assert regions == Regions(polygons=[[(1, 2), (3, 4.5), (5, 6)]], boxes=[(1, 2, 3, 4)])


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        "{",
        '{"circles": []}',
        '{"polygons": [[[1, 2], [3, 4]]]}',
        '{"polygons": [[[1, 2], [3, 4], [5]]]}',
        '{"polygons": [[[1, 2], [3, 4], [5, NaN]]]}',
        '{"boxes": [[1, 2, 3, Infinity]]}',
        '{"boxes": [[1, 2, 3, 1e300]]}',
        '{"boxes": [["a", 2, 3, 4]]}',
        json.dumps({"boxes": [[0, 0, 1, 1]] * 1025}),
        json.dumps({"polygons": [[[0, 0]] * 20_000]}),
        json.dumps({"polygons": [[[0, 0]] * 10_000] * 2}),
        " " * (2 << 20),
        b"\xff\xfe",
    ],
    ids=lambda document: repr(document[:40]),
)
def test_invalid_regions_are_refused(document: str | bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_regions(document)
    assert caught.value.code is Code.BAD_MASK
    assert len(caught.value.detail) < 300


def test_problem_names_the_place_of_the_error() -> None:
    with pytest.raises(Problem, match=r"boxes\.1\.3"):
        parse_regions('{"boxes": [[1, 2, 3, 4], [1, 2, 3, "x"]]}')


def test_schema_has_descriptions() -> None:
    schema = Regions.model_json_schema()
    assert set(schema["properties"]) == {"polygons", "boxes"}
    assert schema["properties"]["boxes"]["maxItems"] == 1024
