"""What is written down of each file."""

from pydantic import BaseModel, ConfigDict

from sightline.api.screening import Category


class Trouble(BaseModel):
    """Why a file has no result."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class Seen(BaseModel):
    """What a service says of a picture, as far as it is written down."""

    model_config = ConfigDict(frozen=True)

    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    decision: str | None = None
    most_likely: Category | None = None
    violation_probability: float | None = None
    needs_review: bool | None = None
    threshold: float | None = None
    threshold_version: str | None = None
    probabilities: dict[Category, float] | None = None
    perceptual_hash: str | None = None
    notes: list[str] = []


class Answer(Seen):
    """One picture of a reply: what was seen, or its problem."""

    problem: Trouble | None = None


class Finding(Seen):
    """One file: its result, or its trouble. `file` is relative to the screened folder, with `/` between its parts."""

    file: str
    size_bytes: int
    modified_ns: int
    copy_of: str | None = None
    near_duplicates: int | None = None
    error: Trouble | None = None


class Reply(BaseModel):
    """The record of a batch; `model` is the name, version and digest of the weights."""

    results: list[Answer]
    model: str
