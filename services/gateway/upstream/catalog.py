from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.gateway.upstream.replicas import ReplicaFleet
from services.gateway.upstream.reports import ModelCardSummary, ReadinessReport

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """What a model's service says about itself; `openapi` is its OpenAPI document."""

    openapi: Document = field(default_factory=dict)
    card: ModelCardSummary = field(default_factory=ModelCardSummary)


class Catalog:
    """The newest description of each model; it outlives the replica it came from."""

    def __init__(self, fleet: ReplicaFleet) -> None:
        self.revision = 0
        self._fleet = fleet
        self._descriptions: dict[str, Description] = {}

    def add(self, model: str, description: Description) -> None:
        self._descriptions[model] = description
        self.revision += 1

    @property
    def documents(self) -> dict[str, Document]:
        """OpenAPI documents by model, in the configured order."""
        return {model: self._descriptions[model].openapi for model in self._fleet.models if model in self._descriptions}

    def card(self, model: str) -> ModelCardSummary:
        return self._descriptions.get(model, Description()).card

    def report(self, model: str) -> ReadinessReport:
        """The last report of a ready replica, or else of any."""
        replicas = sorted(self._fleet.replicas(model), key=lambda replica: not replica.ready)
        return next((replica.report for replica in replicas if replica.report is not None), ReadinessReport())
