"""Options, record and declaration of human-rights screening."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sightline.api import headers
from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import JPEG, JSON, PNG
from sightline.api.problems import Code
from sightline.api.screening import ABSTAIN, Category

Decision = Category | Literal["abstain"]


class ScreeningOptions(BaseModel):
    """Form fields or query parameters of the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Probability from which a class is the decision; below it the decision is `abstain`. By default "
        "that of the weights",
    )
    category: Category | None = Field(default=None, description="Class of the heat map; by default the most likely one")
    heat_map: bool = Field(default=False, description="Put the numbers of the heat map into the record")
    embedding: bool = Field(
        default=False, description="Put a unit vector into the record, to find similar pictures by its dot product"
    )


class Probabilities(BaseModel):
    """Calibrated, of sum 1."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict.fromkeys(Category, 1 / 9)]})

    arms: float
    child_labour: float
    child_marriage: float
    detention_centres: float
    disability_rights: float
    displaced_populations: float
    environment: float
    no_violation: float
    out_of_school: float


class HeatMap(BaseModel):
    """The class activation map of the whole picture: what each cell of a grid says for a class."""

    category: Category
    logits: list[list[float]] = Field(description="By row from the top; calibrated as the probabilities are")
    probabilities: list[list[float]] = Field(description="Of the class, if there were nothing but the cell; 0..1")


class Screened(BaseModel):
    """Result of one picture."""

    index: int = Field(description="Which of the request's pictures, from 0")
    sha256: str
    width: int
    height: int
    probabilities: Probabilities
    decision: Decision = Field(
        description=f"A class, or `{ABSTAIN}` where none reaches the threshold or the one that does was not learned"
    )
    most_likely: Category
    violation_probability: float = Field(ge=0, le=1, description="Of any violation: 1 less that of no_violation")
    threshold: float
    threshold_version: str = Field(description="`request` where the request named the threshold")
    needs_review: bool = Field(
        description="A person should look: always, but for a decision of no_violation. A score is a hint for triage, "
        "never evidence of an abuse"
    )
    perceptual_hash: str = Field(description="16 hex digits; near-duplicates differ in at most 6 of the 64 bits")
    heat_map: HeatMap | None = None
    embedding: list[float] | None = None
    notes: list[str] = Field(default_factory=list, examples=[["first-frame-only"]])


class Fault(BaseModel):
    """Why a picture could not be screened."""

    code: Code
    detail: str


class Refused(BaseModel):
    """A picture among several that could not be screened; the others were."""

    index: int
    sha256: str
    problem: Fault


class Support(BaseModel):
    """Training support of a class."""

    images: int | None = Field(description="Pictures that it was trained on; null where the weights do not say")
    supported: bool | None = Field(description="False for a class with too few of them to be learned")


class ScreeningRecord(BaseModel):
    """One result for each picture, in the order they were sent."""

    results: list[Screened | Refused]
    support: dict[Category, Support]
    evidence: Evidence


DESCRIPTION = """Sorts photos by what they may show: eight kinds of human-rights violation, or none.

Each photo gets calibrated probabilities of nine classes, and a decision where one of them reaches the threshold, else
`abstain`. **A score is a hint about where to look first. It is never evidence of an abuse**, and every result but a
decision of `no_violation` says that a person needs to look.

Several photos may come in one request. One that cannot be read has its `problem` in its place and the others are
answered; alone, it is the request that fails. `Accept: image/png` or `image/jpeg` draws, for one photo, the class
activation map of the most likely class or of `category` over it."""

DECLARATION = ModelDeclaration(
    name="hra_screening",
    title="Human-rights screening",
    description=DESCRIPTION,
    pictures=(
        PictureField(
            "image",
            "A photo: JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF. May be repeated for a batch",
            repeatable=True,
            sample="photo.jpg",
        ),
    ),
    options=ScreeningOptions,
    media_types=(JSON, PNG, JPEG),
    record=ScreeningRecord,
    headers=(headers.DECISION, headers.CATEGORY),
    console=ConsoleView((JSON, JPEG), caption="Regions that support the most likely class"),
)
