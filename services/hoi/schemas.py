"""Options, record and declaration of human-object interaction."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.hoi.contract_facts import Role
from services.hoi.interactions import ObjectStatus
from sightline.api import headers
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
    """Frame of reported boxes."""

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
        "minimum of person times action. By default that of the weights",
    )
    min_detection_score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The minimum score of a detection that is reported. Interactions are reported for people of at "
        "least two thirds of it, with their objects. By default that of the weights",
    )
    max_people: int = Field(
        default=100, ge=0, le=1000, description="Maximum number of people to report, by falling score"
    )
    objects_per_role: int = Field(
        default=1, ge=1, le=20, description="Maximum number of objects for an action of a person, by falling score"
    )
    tiles: bool = Field(
        default=False,
        description="Analyse overlapping parts of a large photo as well, at its own scale as far as `max_tiles` "
        "allows, to find small people; the time grows with the number of parts",
    )
    max_tiles: int = Field(default=64, ge=1, le=512, description="Maximum number of parts")
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

    person: float = Field(ge=0, le=1, description="s_h: score of the person")
    object: float | None = Field(default=None, ge=0, le=1, description="s_o: score of the object")
    action: float = Field(ge=0, le=1, description="s^a: score of the action, with the object if there is one")
    target: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="g^a: how well the object's place matches the one expected from the person",
    )
    empty_role: float | None = Field(
        default=None, ge=0, le=1, description="In place of `object` and `target`, of a role whose object was not found"
    )


class TargetDensity(BaseModel):
    """Expected place of the object from the person alone: a normal distribution of its box relative to the person's."""

    mean_box_xyxy: list[float] = Field(
        min_length=4, max_length=4, description=f"{BOX}; may reach beyond the photo", examples=[EXAMPLE_BOX]
    )
    sigma: float = Field(
        description="Of each of: the offset of the centres in widths and heights of the person, and the logarithms of "
        "the ratios of the sides"
    )


class HoiInteraction(BaseModel):
    """An action of a person, with its object."""

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
    """Views and resolution at which the photo was analysed."""

    views: int = Field(ge=1, description="The whole frame and each tile")
    scale: float = Field(gt=0, description="Of the finest view: pixels of the network in one of the photo")


class HoiRecord(BaseModel):
    """Detections and interactions in a photo."""

    width: int = Field(description="In pixels of the reported frame")
    height: int
    frame: Frame
    detections: list[Detection] = Field(description="By falling score")
    interactions: list[HoiInteraction] = Field(description="By falling score")
    people_found: int = Field(
        description="Number of people of at least `min_detection_score`; those beyond `max_people` are not analysed"
    )
    min_score: float = Field(description="Minimum score of reported interactions")
    min_detection_score: float = Field(description="Minimum score of reported detections without an interaction")
    sight: Sight
    evidence: Evidence


DESCRIPTION = """Finds people, objects and their interactions: triplets of person, verb and object.

Verbs are those of V-COCO, classes of objects those of COCO. A person may do several things, an object may serve
several people, and people are objects to one another. Each triplet has a score, the factors of which it is the
product, and the expected place of the object from the person alone. A verb without a fitting object is reported without
one.

`Accept: image/png` or `image/jpeg` draws them over the photo; `application/ld+json` and `application/graphml+xml` are
graphs. `tiles=true` analyses large photos part by part, to find small people. **A score is a hint about where to look,
never evidence of what someone did.**"""

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
    headers=(headers.DETECTOR,),
    console=ConsoleView((JSON, JPEG), caption="People, objects and interactions"),
)
