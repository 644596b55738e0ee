"""Options, record and declaration of human-object interaction."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.hoi.contract_facts import Role
from services.hoi.interactions import ObjectStatus
from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import GRAPHML, JPEG, JSON, JSON_LD, PNG

BOX = "left, top, right and bottom in pixels"
EXAMPLE_BOX = [212.4, 80.15, 431.0, 612.9]
RIDE: JsonDict = {
    "person": 0,
    "action": "ride",
    "role": "instr",
    "object": 1,
    "object_status": "found",
    "score": 0.552,
    "factors": {"person": 0.93, "object": 0.88, "action": 0.75, "target": 0.9},
    "target": {"mean_box_xyxy": [95.0, 170.0, 215.0, 335.0], "sigma": 0.3},
}


class Frame(StrEnum):
    """Which way up boxes are told."""

    DISPLAYED = "displayed"
    STORED = "stored"


class HoiOptions(BaseModel):
    """Form fields or query parameters of the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The minimum score of an interaction that is reported; of a role whose object was not found, the "
        "minimum of person times action. Left out, that of the weights",
    )
    min_detection_score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The least score of a detection that is told. Interactions are told of people who reach two thirds "
        "of it, with whatever takes part in them. Left out, that of the weights",
    )
    max_people: int = Field(default=100, ge=0, le=1000, description="Of how many people to tell, the surest first")
    objects_per_role: int = Field(
        default=1, ge=1, le=20, description="How many objects an action of a person may have, the likeliest first"
    )
    tiles: bool = Field(
        default=False,
        description="Look at overlapping parts of a large photo as well, at its own scale as far as `max_tiles` "
        "allows, so that small people are found; takes as many times longer as there are parts",
    )
    max_tiles: int = Field(default=64, ge=1, le=512, description="The most parts to look at")
    frame: Frame = Field(
        default=Frame.DISPLAYED,
        description="Boxes in pixels of the photo as viewers show it, or of the rows and columns as they are stored "
        "where its EXIF orientation turns it",
    )


class Detection(BaseModel):
    """A person or an object."""

    id: int
    label: str = Field(description="One of the 80 classes of COCO", examples=["person"])
    score: float = Field(ge=0, le=1)
    box_xyxy: list[float] = Field(min_length=4, max_length=4, description=BOX, examples=[EXAMPLE_BOX])


class ScoreFactors(BaseModel):
    """Factors whose product is the score; those that do not apply are null."""

    person: float = Field(ge=0, le=1, description="s_h: that the person is one")
    object: float | None = Field(default=None, ge=0, le=1, description="s_o: that the object is what its label says")
    action: float = Field(ge=0, le=1, description="s^a: that the person does this, and with the object if there is one")
    target: float | None = Field(
        default=None, ge=0, le=1, description="g^a: how well the object is where the person's looks say that it is"
    )
    empty_role: float | None = Field(
        default=None, ge=0, le=1, description="In place of `object` and `target`, of a role whose object was not found"
    )


class TargetDensity(BaseModel):
    """Where the person alone says that the object is: a normal distribution of its box relative to the person's."""

    mean_box_xyxy: list[float] = Field(
        min_length=4, max_length=4, description=f"{BOX}; may reach beyond the photo", examples=[EXAMPLE_BOX]
    )
    sigma: float = Field(
        description="Of each of: the offset of the centres in widths and heights of the person, and the logarithms of "
        "the ratios of the sides"
    )


class HoiInteraction(BaseModel):
    """What a person does, and with what."""

    model_config = ConfigDict(json_schema_extra={"examples": [RIDE]})

    person: int = Field(description="Id of a detection")
    action: str = Field(description="A verb of V-COCO", examples=["ride"])
    role: Role | None = Field(
        description="What the object is to the action: `obj` what is acted upon, `instr` what it is done with; null of "
        "actions without object"
    )
    object: int | None = Field(description="Id of a detection; null where none fits")
    object_status: ObjectStatus | None = Field(
        description="`found`; `uncertain` where object and place are unlikely; `not_found` where no detection fits; "
        "null of actions without object"
    )
    score: float = Field(ge=0, le=1)
    factors: ScoreFactors
    target: TargetDensity | None = Field(description="Null of actions without object")


class Sight(BaseModel):
    """How closely the photo was looked at."""

    views: int = Field(ge=1, description="The whole frame and each tile")
    scale: float = Field(gt=0, description="Of the finest view: pixels of the network in one of the photo")


class HoiRecord(BaseModel):
    """Who does what with what."""

    width: int = Field(description="In pixels of the frame that boxes are told in")
    height: int
    frame: Frame
    detections: list[Detection] = Field(description="By falling score")
    interactions: list[HoiInteraction] = Field(description="By falling score")
    people_found: int = Field(
        description="Of at least `min_detection_score`; of more than `max_people` the rest is not looked at"
    )
    min_score: float = Field(description="The least score of an interaction that is told")
    min_detection_score: float = Field(description="The same of detections that take part in none")
    sight: Sight
    evidence: Evidence


DESCRIPTION = """Finds people and objects, and who does what with what: triplets of person, verb and object.

Verbs are those of V-COCO, classes of objects those of COCO. A person may do several things, an object may serve
several people, and people are objects to one another. Each triplet has a score and the four factors it is the product
of, and the place where the person's looks alone say that the object is. A verb for which no object fits is told
without one.

`Accept: image/png` or `image/jpeg` draws it over the photo, `application/ld+json` and `application/graphml+xml` have
it as a graph. `tiles=true` looks at large photos part by part, for people who are small in them. **A score is a hint
about where to look, never evidence of what someone did.**"""

DECLARATION = ModelDeclaration(
    name="hoi",
    title="Human-object interaction",
    description=DESCRIPTION,
    pictures=(
        PictureField(
            "image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC, AVIF or GIF", sample="astronaut.jpg"
        ),
    ),
    options=HoiOptions,
    media_types=(JSON, PNG, JPEG, JSON_LD, GRAPHML),
    record=HoiRecord,
    console=ConsoleView((JSON, JPEG), caption="People, objects and interactions"),
)
