"""What the weights declare about themselves in the `[facts]` of their contract."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from sightline.api.screening import Category

PAPER_THRESHOLD = 0.85
LEAST_SUPPORT = 30
"""Fewer pictures than this do not teach a class."""


class Facts(BaseModel):
    """`support`: how many pictures each class was trained on; a class that is not named is of unknown support."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=PAPER_THRESHOLD, ge=0, le=1)
    threshold_version: str = "default"
    support: Mapping[Category, int] = Field(default_factory=dict)

    def supports(self, category: Category) -> bool | None:
        """Whether the class was learned; None where the weights do not say."""
        count = self.support.get(category)
        return None if count is None else count >= LEAST_SUPPORT
