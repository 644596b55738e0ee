"""The predictor protocol: the part of a model that is independent of HTTP and Redis.

A prediction is a generator that yields the tensors to infer and is sent the outputs, so that the REST service, the job
worker, the command line and the tests can each run it their own way.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel

from sightline.api.declaration import ModelDeclaration
from sightline.api.evidence import Alteration, Evidence
from sightline.api.media_types import ZIP
from sightline.inference.catalogue.installed import WeightsFolder
from sightline.inference.contract import ContractError
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature
from sightline.inference.signature import Tensors as Tensors
from sightline.inference.weights import Weights, resolve_weights

OptionsT = TypeVar("OptionsT", bound=BaseModel)
RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

Plan = Generator[Sequence[Tensors], Sequence[Tensors], ResultT]
"""Yields samples to infer, is sent their outputs in the same order, returns the result. A plan of several rounds yields
`Round`s, from which its progress is read."""


class Round(list[Tensors]):
    """Samples of a plan that infers in many rounds; `done` is the share of all samples before it, 0..1."""

    def __init__(self, samples: Iterable[Tensors], *, done: float) -> None:
        super().__init__(samples)
        self.done = done


@dataclass(frozen=True, slots=True)
class Upload(Generic[OptionsT]):
    """The bytes of the pictures by field name, and the validated options."""

    pictures: Mapping[str, Sequence[bytes]]
    options: OptionsT

    @property
    def files(self) -> list[bytes]:
        """All pictures and masks."""
        return [data for sent in self.pictures.values() for data in sent]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The body of a reply; notes and headers are added to those that every reply of the result has.

    files: those of a ZIP archive by name, in place of a body; its JSON files hold the record. alteration: of a picture
    that is the photo with changes, which its content credentials then say; plain_sha256: its digest without them.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    files: "Mapping[str, Rendered] | None" = None
    alteration: Alteration | None = None
    plain_sha256: str | None = None

    @classmethod
    def archive(cls, files: "Mapping[str, Rendered]", **members: Any) -> Self:
        """Returns a ZIP archive of these files."""
        return cls(b"", ZIP, files=files, **members)


class Predictor(ABC, Generic[OptionsT, RequestT, ResultT]):
    """One model: bytes to request, request to result through a plan, result to bytes."""

    declaration: ModelDeclaration[OptionsT]
    signature: ModelSignature
    weights_file: ClassVar[str | None] = None
    """The shipped ONNX file in the folder `weights`; by default it has the model's name."""

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        self.weights = weights
        self.limits = settings.pixel_limits

    @classmethod
    def load(cls, settings: InferenceSettings) -> Self:
        """The predictor with the weights that the settings name, or with those shipped beside its module."""
        require_entry_of(cls.declaration.name, settings)
        file = cls.weights_file or f"{cls.declaration.name}.onnx"
        return cls(resolve_weights(settings, _folder(cls) / "weights" / file), settings)

    @cached_property
    def card(self) -> str:
        """The model card beside the predictor's module, in Markdown."""
        return (_folder(type(self)) / "MODEL_CARD.md").read_text("utf-8")

    @abstractmethod
    def read(self, upload: Upload[OptionsT]) -> RequestT:
        """Decodes an upload. Raises Problem where a picture cannot be used."""

    @abstractmethod
    def predict(self, request: RequestT) -> Plan[ResultT]:
        """Runs the network on the request's samples."""

    def notes(self, result: ResultT) -> Sequence[str]:
        """Short remarks on a result, for the evidence record and the header of the same name."""
        del result
        return ()

    def synthesised_share(self, result: ResultT) -> float | None:
        """Share of the photo's pixels that the model made up, for the evidence record; None if it alters no photo."""
        del result
        return None

    @abstractmethod
    def render(self, result: ResultT, media_type: str, evidence: Evidence) -> Rendered:
        """Encodes a result. Raises Problem NOT_ACCEPTABLE where this one has no such representation."""


AnyPredictor = Predictor[Any, Any, Any]


def require_entry_of(model: str, settings: InferenceSettings) -> None:
    """Raises ContractError if the settings use an entry of the catalogue that serves another model."""
    entry = settings.catalogue_entry
    found = WeightsFolder(settings.weights_folder).find(entry) if entry else None
    if found is not None and found.record.model != model:
        raise ContractError(f"{entry} of the catalogue serves {found.record.model}, not {model}")


def _folder(predictor: type) -> Path:
    return Path(inspect.getfile(predictor)).parent
