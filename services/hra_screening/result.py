"""What is asked of the screening and what comes out of it, before any encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.hra_screening.facts import Facts
from services.hra_screening.looking import Look, Unreadable
from services.hra_screening.schemas import ScreeningOptions
from services.hra_screening.verdict import Threshold, Verdict
from sightline.api.screening import Category

FROM_REQUEST = "request"


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningRequest:
    """`pictures` are kept as they came: an overlay is drawn on the whole picture."""

    pictures: Sequence[bytes]
    looks: Sequence[Look | Unreadable]
    options: ScreeningOptions


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningResult:
    """A verdict for each look, by its index."""

    request: ScreeningRequest
    verdicts: Mapping[int, Verdict]
    facts: Facts

    @property
    def threshold(self) -> Threshold:
        asked = self.request.options.threshold
        if asked is None:
            return Threshold(self.facts.threshold, self.facts.threshold_version)
        return Threshold(asked, FROM_REQUEST)

    def decision(self, at: int) -> Category | None:
        """None, which is to abstain, also where the likeliest class was never learned."""
        decided = self.verdicts[at].decide(self.threshold)
        return None if decided and self.facts.supports(decided) is False else decided
