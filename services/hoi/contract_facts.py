"""Properties of the weights, from the `[facts]` of their contract: classes, actions with roles, and thresholds."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sightline.postprocessing.interactions import ActionScore, Composition

PERSON = "person"
UnitFloat = Annotated[float, Field(ge=0, le=1)]


class Role(StrEnum):
    """Role of an object in an action: acted upon, or instrument."""

    OBJECT = "obj"
    INSTRUMENT = "instr"


class Slot(BaseModel):
    """An action in one of its roles, or without a role: `["ride", "instr"]`, and `["walk", ""]` or `["walk"]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str
    role: Role | None = None

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, written: Any) -> Any:
        match written:
            case [action]:
                return {"action": action}
            case [action, role]:
                return {"action": action, "role": role or None}
        return written

    def __str__(self) -> str:
        return f"{self.action}-{self.role}" if self.role else self.action


class Thresholds(BaseModel):
    """Thresholds on scores, 0..1.

    detection: the minimum score of a box that may take part in an interaction.
    empty_role: the value of a missing object: a role has an object where its s_o * s^a * g is at least this value times
    the action of the person alone. certain_object: the minimum s_o * g of an object that is not reported as uncertain.
    interaction and shown: the minimum scores of a triplet and of a box that are reported unless the request has others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detection: UnitFloat = 0.05
    empty_role: UnitFloat = 0.05
    certain_object: UnitFloat = 0.4
    interaction: UnitFloat = 0.05
    shown: UnitFloat = 0.3


class ContractFacts(BaseModel):
    """Properties of the weights: input size, classes, slots, thresholds.

    layout_weight: share of the layout network in the scores of actions and pairs, if the weights have that part.
    allowed: classes of the objects of a slot, such as `ride-instr`; any class for a slot without an entry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    longest_side_px: int = Field(ge=64, multiple_of=32, description="Longer side of the detector's input")
    classes: tuple[str, ...] = Field(min_length=1)
    slots: tuple[Slot, ...] = Field(min_length=1)
    sigma: float = Field(default=0.3, gt=0, allow_inf_nan=False)
    action_score: ActionScore = ActionScore.GEOMETRIC_MEAN
    layout_weight: UnitFloat = 0.5
    thresholds: Thresholds = Thresholds()
    allowed: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> "ContractFacts":
        if PERSON not in self.classes:
            raise ValueError(f"there must be a class {PERSON!r}")
        if unknown := sorted(set(self.allowed) - {str(slot) for slot in self.slots}):
            raise ValueError(f"allowed: there is no slot {unknown[0]!r}")
        if unknown := sorted({name for names in self.allowed.values() for name in names} - set(self.classes)):
            raise ValueError(f"allowed: there is no class {unknown[0]!r}")
        return self

    @property
    def person(self) -> int:
        return self.classes.index(PERSON)

    @property
    def composition(self) -> Composition:
        empty_role, layout_weight = self.thresholds.empty_role, self.layout_weight
        return Composition(self.action_score, self.sigma, empty_role, layout_weight=layout_weight)

    @cached_property
    def plausible(self) -> NDArray[np.bool_]:
        """(classes, slots): True where an object of the class may have the slot's role."""
        everything = self.classes
        allowed = [self.allowed.get(str(slot), everything) for slot in self.slots]
        return np.array([[name in names for names in allowed] for name in self.classes])
