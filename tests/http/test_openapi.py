from enum import StrEnum

from pydantic import BaseModel, Field

from sightline.http.openapi import inlined


class Colour(StrEnum):
    RED = "red"


class Point(BaseModel):
    x: int


class Options(BaseModel):
    colour: Colour = Field(default=Colour.RED, description="Which one")
    points: list[Point] = []


def test_inlined_schema_has_no_references() -> None:
    schema = inlined(Options.model_json_schema())
    assert "$defs" not in schema
    assert schema["properties"]["colour"]["enum" if "enum" in schema["properties"]["colour"] else "const"]
    assert schema["properties"]["points"]["items"]["properties"]["x"]["type"] == "integer"
