"""What is asked of the interaction service and what comes out of it, before any encoding."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.hoi.facts import Facts
from services.hoi.found import Found
from services.hoi.interactions import Interaction
from services.hoi.schemas import HoiOptions
from services.hoi.views import View
from sightline.imaging.picture import Picture

PERSON_SHARE = 2 / 3
"""How much of `min_detection_score` a person reaches who is told of. Without it half of the interactions told were
nobody's; of those that it leaves out, four in five are."""


@dataclass(frozen=True, slots=True, eq=False)
class HoiRequest:
    """`data` is kept as it came: an overlay is drawn on the whole photo, of which `picture` may be a small copy."""

    data: bytes
    picture: Picture
    options: HoiOptions

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the whole photo as displayed."""
        return self.picture.size_px


@dataclass(frozen=True, slots=True, eq=False)
class HoiResult:
    """found: everything of at least the weights' least score, by falling score; interactions: also the unlikely
    ones, by falling score."""

    request: HoiRequest
    facts: Facts
    views: Sequence[View]
    found: Found
    interactions: Sequence[Interaction]

    @property
    def min_score(self) -> float:
        asked = self.request.options.min_score
        return self.facts.thresholds.interaction if asked is None else asked

    @property
    def min_detection_score(self) -> float:
        asked = self.request.options.min_detection_score
        return self.facts.thresholds.shown if asked is None else asked

    @property
    def people_found(self) -> int:
        """Those who are sure enough."""
        people = self.found.labels == self.facts.person
        return int((people & (self.found.scores >= self.min_detection_score)).sum())

    @property
    def told(self) -> list[Interaction]:
        """The interactions that are likely enough, of people who are sure enough."""
        people = self.found.scores >= PERSON_SHARE * self.min_detection_score
        return [each for each in self.interactions if each.action_score >= self.min_score and people[each.person]]

    @property
    def shown(self) -> list[int]:
        """What of `found` is told: what is sure enough or takes part."""
        sure = self.found.scores >= self.min_detection_score
        taking_part = {at for each in self.told for at in (each.person, each.object)}
        return [at for at in range(len(self.found)) if sure[at] or at in taking_part]
