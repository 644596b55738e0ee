"""The declaration of a model, from which application, documentation, command line and console derive.

It imports no runtime, so that deployment checks and the command line read it without loading a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

OptionsT = TypeVar("OptionsT", bound=BaseModel)


def route_of(model: str) -> str:
    """Returns the path of a model's route, by the name of its folder."""
    return f"/v1/{model.replace('_', '-')}"


def model_name(name: str) -> str:
    """Returns a model's name, such as `hdr_correct`; accepts also the spelling of its route, `hdr-correct`."""
    return name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class PictureField:
    """A picture that a request may carry; `sample` is the file of `samples/` that examples send in it."""

    name: str
    description: str
    required: bool = True
    repeatable: bool = False
    sample: str | None = None


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """Presentation of a model in the web console.

    replies: the media types that the console requests, at most one of them a picture; caption: stands under that
    picture; downloads: media types of further representations, by the labels of their buttons.
    """

    replies: tuple[str, ...] = ("application/json",)
    caption: str = ""
    downloads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeclaration(Generic[OptionsT]):
    """Name, inputs and outputs of a model.

    name: that of its folder in `services/`; options: the form fields and query parameters of a request; record: the
    schema of the JSON reply; media_types: of the replies, by preference, the first for `*/*`; headers: those that only
    replies of this model carry; sample_output: the file in which examples save the default reply, if it is no text.
    """

    name: str
    title: str
    description: str
    pictures: tuple[PictureField, ...]
    options: type[OptionsT]
    media_types: tuple[str, ...]
    record: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    sample_output: str | None = None
    console: ConsoleView = ConsoleView()

    @property
    def route(self) -> str:
        return route_of(self.name)

    @property
    def samples(self) -> Mapping[str, str]:
        """Files of `samples/` by the picture field that they are sent in."""
        return {picture.name: picture.sample for picture in self.pictures if picture.sample}
