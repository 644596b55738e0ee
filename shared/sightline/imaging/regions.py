"""JSON schema of polygons and boxes that mark parts of a photo."""

from typing import Annotated, Self

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sightline.api.problems import Code, Problem

_MAX_REGIONS, _MAX_POINTS = 1024, 16_384
_MAX_JSON_BYTES = 1 << 20

Coordinate = Annotated[float, AllowInfNan(False), Field(ge=-1e6, le=1e6)]
Point = tuple[Coordinate, Coordinate]
# Validation stops at the first error: a list of all would take many times the memory of the document.
Polygon = Annotated[list[Point], Field(min_length=3, max_length=_MAX_POINTS, fail_fast=True)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]


class Regions(BaseModel):
    """Marked parts of a photo, in pixels of the displayed frame; (0, 0) is the corner of its top left pixel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    polygons: list[Polygon] = Field(
        default=[],
        max_length=_MAX_REGIONS,
        fail_fast=True,
        description="Closed outlines of at least three points [x, y], filled by the even-odd rule.",
        examples=[[[[10, 10], [120, 20], [60, 90]]]],
    )
    boxes: list[Box] = Field(
        default=[],
        max_length=_MAX_REGIONS,
        fail_fast=True,
        description="[left, top, right, bottom]; right and bottom are the first pixels outside.",
        examples=[[[200, 40, 260, 80]]],
    )

    @model_validator(mode="after")
    def _few_points(self) -> Self:
        if sum(map(len, self.polygons)) > _MAX_POINTS:  # the time of filling grows with the number of points
            raise ValueError(f"at most {_MAX_POINTS} points are allowed")
        return self


def parse_regions(document: str | bytes) -> Regions:
    """Parses a JSON document; raises Problem BAD_MASK, which names the place of the first error."""
    if len(document) > _MAX_JSON_BYTES:
        raise Problem(
            Code.BAD_MASK,
            f"The regions have more than {_MAX_JSON_BYTES} bytes; send a mask instead.",
            max_bytes=_MAX_JSON_BYTES,
        )
    try:
        return Regions.model_validate_json(document)
    except ValidationError as error:
        raise Problem(Code.BAD_MASK, f"The regions are not valid: {_first(error)}.") from None


def _first(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in details["loc"])
    return f"{place}: {details['msg']}" if place else details["msg"]
