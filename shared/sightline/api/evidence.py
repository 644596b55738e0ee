"""The evidence record of every result: input, model, parameters and environment."""

import hashlib
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class DetectorIdentity(BaseModel):
    """Identity of the detector in front of a model."""

    name: str = Field(examples=["picodet-s-416"])
    version: str = Field(examples=["2022.1"])
    weights_sha256: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}+{self.weights_sha256[:12]}"


class ModelIdentity(BaseModel):
    """Identity of the weights that produced a result."""

    name: str = Field(examples=["inpaint"])
    version: str = Field(examples=["1.0.0"])
    weights_sha256: str
    contract: str = Field(description="`shipped`, or the name of the declared contract of replaced weights")
    detector: DetectorIdentity | None = Field(
        default=None, description="The detector in front of the model, where it replaces the model's own"
    )

    def __str__(self) -> str:
        return f"{self.name}@{self.version}+{self.weights_sha256[:12]}"

    @property
    def sha256(self) -> str:
        """Digest of the whole identity: results may differ between versions or contracts of the same weights."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Evidence(BaseModel):
    """Facts about one result, with which another laboratory can reproduce it."""

    request_id: str
    input_sha256: str = Field(description="SHA-256 of the original bytes of the first picture")
    model: ModelIdentity
    parameters: dict[str, Any]
    provider: str = Field(examples=["CPUExecutionProvider"])
    precision: str = Field(examples=["fp32"])
    libraries: dict[str, str]
    received_at: datetime
    finished_at: datetime
    notes: list[str] = Field(default_factory=list, examples=[["first-frame-only"]])
