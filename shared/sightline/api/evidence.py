"""The evidence record of every result: input, result, model, parameters and environment."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

FORMAT = "sightline-evidence-1"


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


class InputDigest(BaseModel):
    """A file as it was sent."""

    field: str = Field(description="Field of the request, such as `image` or `mask`", examples=["image"])
    sha256: str
    size_bytes: int


class DigestForm(StrEnum):
    """Bytes that a digest is of."""

    BYTES = "bytes"
    JSON = "canonical-json"


class ResultDigest(BaseModel):
    """A file of the reply."""

    name: str | None = Field(default=None, description="Name in the archive; null for a reply that is one file")
    media_type: str
    sha256: str
    size_bytes: int = Field(description="Number of bytes that the digest is of")
    form: DigestForm = Field(
        default=DigestForm.BYTES,
        description="`bytes`: the digest is of the file; `canonical-json`: of the JSON object without its member "
        "`evidence`, in the canonical form of RFC 8785",
    )
    uncredentialed_sha256: str | None = Field(
        default=None,
        description="SHA-256 of the picture before content credentials were embedded, whose bytes differ in every run",
    )


class Network(BaseModel):
    """A file of the weights in use."""

    file: str = Field(examples=["inpaint.onnx"])
    sha256: str


class Evidence(BaseModel):
    """Facts about one result, with which another laboratory can reproduce it.

    The signature is a JSON Web Signature with detached content (RFC 7515, appendix F). It is of this object without the
    member `signature`, in the canonical form of RFC 8785.
    """

    format: str = Field(default=FORMAT, description="Version of this record")
    request_id: str
    input_sha256: str = Field(description="SHA-256 of the original bytes of the first picture")
    inputs: list[InputDigest] = Field(default_factory=list, description="All files of the request, as they were sent")
    results: list[ResultDigest] = Field(default_factory=list, description="The files of the reply")
    synthesised_share: float | None = Field(
        default=None, description="Share of the photo's pixels that the model made up; null for models that alter none"
    )
    model: ModelIdentity
    networks: list[Network] = Field(default_factory=list, description="Every file of the weights, the detector's too")
    parameters: dict[str, Any] = Field(
        description="Options as applied, with defaults. One of more than 1000 characters has `sha256` and `size_bytes` "
        "of its canonical JSON in its place"
    )
    provider: str = Field(examples=["CPUExecutionProvider"])
    precision: str = Field(examples=["fp32"])
    deterministic: bool = Field(
        default=False,
        description="Whether the same input, parameters, weights, libraries and processor give the same bytes again, "
        "whatever else the service computes",
    )
    libraries: dict[str, str]
    processor: str | None = Field(
        default=None, description="Machine type and instruction sets", examples=["x86_64 X86_V2 X86_V3"]
    )
    gps_removed: bool = Field(
        default=False, description="True where the first picture carries a position, which no result repeats"
    )
    serial_numbers_removed: bool = Field(
        default=False, description="True where it carries serial numbers of camera or lens, which no result repeats"
    )
    received_at: datetime
    finished_at: datetime
    notes: list[str] = Field(default_factory=list, examples=[["first-frame-only"]])
    signing_key: str | None = Field(
        default=None, description="Key of the signature by its RFC 7638 thumbprint; null where the service signs none"
    )
    signature: str | None = Field(default=None, description="The detached signature of the members above")


class Alteration(StrEnum):
    """Kinds of altered picture, as content credentials name them."""

    INPAINTED = "inpainted"
    EXPOSURE_CORRECTED = "exposure-corrected"
    RELIT = "relit"
