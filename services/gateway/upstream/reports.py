from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sightline.api.evidence import ModelIdentity


class ReadinessReport(BaseModel):
    """What a service says in `/readyz`, as far as the gateway uses it."""

    version: str | None = None
    weights_sha256: str | None = None
    contract: str | None = None
    provider: str | None = None
    precision: str | None = None
    estimated_queue_ms: float | None = None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Differs when the replica has come back as something else."""
        return self.version, self.weights_sha256, self.contract

    def identity_of(self, model: str) -> ModelIdentity | None:
        """As the service puts it into its results; None where it has not told all of it."""
        if self.version is None or self.weights_sha256 is None or self.contract is None:
            return None
        return ModelIdentity(
            name=model, version=self.version, weights_sha256=self.weights_sha256, contract=self.contract
        )


class ModelCardSummary(BaseModel):
    """What a service says in its model card, as far as the gateway uses it."""

    title: str | None = None
    description: str | None = None
    media_types: list[str] = []


def read_readiness_report(body: Mapping[str, Any]) -> ReadinessReport:
    """A service that reports in other words is ready all the same: the report is only shown."""
    try:
        return ReadinessReport.model_validate(body)
    except ValidationError:
        return ReadinessReport()


def read_model_card(body: Mapping[str, Any]) -> ModelCardSummary:
    try:
        return ModelCardSummary.model_validate(body)
    except ValidationError:
        return ModelCardSummary()
