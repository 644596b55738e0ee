import json
import re
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.http.openapi import option_schemas
from sightline.serving.documentation import describe_predict


class Colour(StrEnum):
    RED = "red"


class Point(BaseModel):
    x: int


class Options(BaseModel):
    colour: Colour = Field(default=Colour.RED, description="Which one")
    points: list[Point] = []
    share: Annotated[float, Field(le=1)] | None = Field(default=None, description="0 to 1", examples=[0.5])


def declaration(*pictures: PictureField) -> ModelDeclaration[Options]:
    return ModelDeclaration(
        name="tiny",
        title="Tiny",
        description="Does little.",
        pictures=pictures,
        options=Options,
        media_types=("image/png", "application/json"),
    )


def test_options_are_fields_and_parameters() -> None:
    description = describe_predict(declaration(PictureField("image", "A photo")), max_pictures=8)
    form = description["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert list(form["properties"]) == ["image", "colour", "points", "share"]
    assert [parameter["name"] for parameter in description["parameters"]] == ["colour", "points", "share"]
    assert description["parameters"][0]["description"] == "Which one; default: red"


def test_documented_options_have_no_defaults_that_clients_would_send() -> None:
    described = option_schemas(Options)
    assert set(described) == {"colour", "points", "share"}
    assert described["share"] == {"type": "number", "maximum": 1, "description": "0 to 1"}
    form = describe_predict(declaration(PictureField("image", "A photo")), max_pictures=8)
    fields = form["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert all(fields[name]["examples"] == [""] for name in described)
    text = json.dumps(describe_predict(declaration(PictureField("image", "A photo")), max_pictures=8)["parameters"])
    assert not {"default", "example", "examples"} & set(re.findall(r'"(\w+)":', text))


def test_bare_picture_is_offered_only_where_one_is_enough() -> None:
    one, two = PictureField("a", "One"), PictureField("b", "Two", repeatable=True)
    assert "application/octet-stream" in describe_predict(declaration(one), max_pictures=8)["requestBody"]["content"]
    content = describe_predict(declaration(one, two), max_pictures=8)["requestBody"]["content"]
    assert list(content) == ["multipart/form-data"]
    form = content["multipart/form-data"]["schema"]
    assert form["required"] == ["a", "b"]
    assert form["additionalProperties"] is False
    several = form["properties"]["b"]
    assert (several["type"], several["minItems"], several["maxItems"]) == ("array", 1, 8)


def test_every_problem_has_an_example() -> None:
    responses = describe_predict(declaration(PictureField("image", "A photo")), max_pictures=8)["responses"]
    assert set(responses) == {"200", "400", "406", "413", "415", "503", "504"}
    for status in set(responses) - {"200"}:
        content = responses[status]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
        assert {example["value"]["status"] for example in content["examples"].values()} == {int(status)}
    assert "Retry-After" in responses["503"]["headers"]
