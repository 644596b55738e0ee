from enum import StrEnum

from pydantic import BaseModel, Field

from sightline.serving.documentation import describe_predict, inlined
from sightline.serving.predictor import ModelInfo, PictureField


class Colour(StrEnum):
    RED = "red"


class Point(BaseModel):
    x: int


class Options(BaseModel):
    colour: Colour = Field(default=Colour.RED, description="Which one")
    points: list[Point] = []


def info(*pictures: PictureField) -> ModelInfo:
    return ModelInfo("tiny", "1", "Tiny", "Does little.", "", pictures, ("image/png", "application/json"))


def test_definitions_are_put_in_their_places() -> None:
    schema = inlined(Options.model_json_schema())
    assert "$defs" not in schema
    assert schema["properties"]["colour"]["enum" if "enum" in schema["properties"]["colour"] else "const"]
    assert schema["properties"]["points"]["items"]["properties"]["x"]["type"] == "integer"


def test_options_are_fields_and_parameters() -> None:
    description = describe_predict(info(PictureField("image", "A photo")), Options)
    form = description["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert list(form["properties"]) == ["image", "colour", "points"]
    assert [parameter["name"] for parameter in description["parameters"]] == ["colour", "points"]
    assert description["parameters"][0]["description"] == "Which one"


def test_a_bare_picture_is_offered_only_where_one_is_enough() -> None:
    one, two = PictureField("a", "One"), PictureField("b", "Two", repeatable=True)
    assert "image/*" in describe_predict(info(one), Options)["requestBody"]["content"]
    content = describe_predict(info(one, two), Options)["requestBody"]["content"]
    assert list(content) == ["multipart/form-data"]
    assert content["multipart/form-data"]["schema"]["properties"]["b"]["type"] == "array"


def test_every_problem_has_an_example() -> None:
    responses = describe_predict(info(PictureField("image", "A photo")), Options)["responses"]
    assert set(responses) == {"200", "400", "406", "413", "415", "503", "504"}
    for status in set(responses) - {"200"}:
        assert responses[status]["content"]["application/problem+json"]["example"]["status"] == int(status)
