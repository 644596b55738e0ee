"""Content negotiation by the Accept header (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sightline.api.problems import Code, Problem

_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"({_NAME})/({_NAME})")
_LIMIT_CHARACTERS, _LIMIT_RANGES = 4096, 64
OCTET_STREAM = "application/octet-stream"
_TEXTS = ("text/", "application/json")


@dataclass(frozen=True, slots=True)
class _MediaRange:
    type: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        return (self.type != "*") + (self.subtype != "*") - self.is_bytes

    @property
    def is_bytes(self) -> bool:
        return f"{self.type}/{self.subtype}" == OCTET_STREAM

    def covers(self, media_type: str) -> bool:
        """Returns whether the range covers a type; `application/octet-stream` covers every type but texts."""
        # Clients that are generated from the OpenAPI document send it for pictures.
        if self.is_bytes:
            return not media_type.startswith(_TEXTS)
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


def negotiate(accept: str | None, offered: Sequence[str]) -> str:
    """Returns the offered media type that the client prefers; of equals the one offered first.

    Members that are no media range are ignored; a header without any valid one counts as absent. Raises Problem
    NOT_ACCEPTABLE with the list of what is offered.
    """
    ranges = _parse(accept or "")
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if not _quality(best, ranges):
        raise Problem(
            Code.NOT_ACCEPTABLE, "None of the media types in Accept can be produced here.", offered=list(offered)
        )
    return best


def acceptable_types(accept: str | None, offered: Sequence[str]) -> tuple[str, ...]:
    """Returns every offered media type that the client accepts, the one that `negotiate` chooses first."""
    best, ranges = negotiate(accept, offered), _parse(accept or "")
    liked = [each for each in offered if not ranges or _quality(each, ranges)]
    return best, *(each for each in liked if each != best)


def _quality(media_type: str, ranges: Sequence[_MediaRange]) -> float:
    """Returns the quality of the most specific range that covers the type."""
    bare = media_type.partition(";")[0].strip().lower()
    covering = [media_range for media_range in ranges if media_range.covers(bare)]
    return max(covering, key=lambda media_range: media_range.specificity).quality if covering else 0.0


def _parse(accept: str) -> list[_MediaRange]:
    members = accept[:_LIMIT_CHARACTERS].split(",")[:_LIMIT_RANGES]
    return [media_range for member in members if (media_range := _parse_member(member))]


def _parse_member(member: str) -> _MediaRange | None:
    media_range, *parameters = [part.strip() for part in member.lower().split(";")]
    match = _RANGE.fullmatch("*/*" if media_range == "*" else media_range)
    if match is None or (match[1] == "*" and match[2] != "*"):
        return None
    return _MediaRange(match[1], match[2], _parse_quality(parameters))


def _parse_quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _WEIGHT.fullmatch(value.strip()) else 1.0
    return 1.0
