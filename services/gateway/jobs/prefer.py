"""What a client would rather have (RFC 7240): an answer later, or one within some seconds."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_LIMIT_CHARACTERS = 4096
_LIMIT_WAIT_S = 10**6
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEMBER = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PREFERENCE = re.compile(rf"\s*({_WORD})\s*(?:=\s*({_WORD}|{_QUOTED})\s*)?(?:;.*)?")


@dataclass(frozen=True, slots=True)
class Preferences:
    """Those that are known here; whatever else a client prefers is ignored, as the standard asks."""

    respond_async: bool = False
    wait_s: int | None = None

    @property
    def asks_for_job(self) -> bool:
        return self.respond_async or self.wait_s is not None

    def applied(self, *, max_wait_s: float, later: bool) -> str:
        """The value of `Preference-Applied`; a wait that was cut says how long it was."""
        honoured = ["respond-async"] if self.respond_async and later else []
        if self.wait_s is not None:
            honoured.append(f"wait={min(self.wait_s, int(max_wait_s))}")
        return ", ".join(honoured)


def read_preferences(values: Sequence[str]) -> Preferences:
    """From every `Prefer` header of a request; of a preference that comes twice the first counts."""
    found: dict[str, str] = {}
    for name, value in _preferences(values):
        found.setdefault(name, value)
    return Preferences("respond-async" in found, _seconds(found.get("wait", "")))


def _preferences(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for member in _MEMBER.findall(",".join(values)[:_LIMIT_CHARACTERS]):
        if match := _PREFERENCE.fullmatch(member):
            yield match[1].lower(), (match[2] or "").strip('"')


def _seconds(text: str) -> int | None:
    return min(int(text.lstrip("0")[:9] or "0"), _LIMIT_WAIT_S) if text.isascii() and text.isdecimal() else None
