"""The seam between a model and everything that serves it.

A predictor knows neither HTTP nor Redis. Its work is a generator that yields the tensors it wants inferred and is
sent the outputs, so that the REST service, the queue, the command line and the tests can each drive it their way.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import BaseModel

from sightline.api.evidence import Evidence
from sightline.api.routes import route_of
from sightline.inference.signature import ModelSignature
from sightline.inference.signature import Tensors as Tensors
from sightline.inference.weights import Weights

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

Plan = Generator[Sequence[Tensors], Sequence[Tensors], ResultT]
"""Yields samples to infer, is sent their outputs in the same order, returns the result; a plan that can tell how far
it is yields `Round`s."""


class Round(list[Tensors]):
    """Samples of a plan that infers in many rounds; `done` is the share of the whole that lies behind it, 0..1."""

    def __init__(self, samples: Iterable[Tensors], *, done: float) -> None:
        super().__init__(samples)
        self.done = done


@dataclass(frozen=True, slots=True)
class PictureField:
    """A picture that a request may carry."""

    name: str
    description: str
    required: bool = True
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model tells about itself; `media_types` in order of preference, the first answers `*/*`.

    `record` is the schema of the JSON reply, and `headers` are those that only this model's replies carry, for the
    documentation.
    """

    name: str
    version: str
    title: str
    description: str
    card: str
    pictures: tuple[PictureField, ...]
    media_types: tuple[str, ...]
    record: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        return route_of(self.name)


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of the pictures by field name, and the validated options."""

    pictures: Mapping[str, Sequence[bytes]]
    options: BaseModel

    @property
    def files(self) -> list[bytes]:
        """All pictures and masks."""
        return [data for sent in self.pictures.values() for data in sent]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply's body; `headers` are added to the common ones."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Predictor(Protocol[RequestT, ResultT]):
    """One model: bytes to request, request to result through a plan, result to bytes."""

    info: ModelInfo
    options: type[BaseModel]
    signature: ModelSignature
    weights: Weights

    def read(self, upload: Upload) -> RequestT: ...
    def predict(self, request: RequestT) -> Plan[ResultT]: ...
    def render(self, result: ResultT, media_type: str, evidence: Evidence) -> Rendered: ...
