"""Settings of the inference engine, as environment variables with the prefix SIGHTLINE_."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sightline.imaging.limits import PixelLimits
from sightline.inference.catalogue.installed import DEFAULT_FOLDER, entry_of, resolve_settings
from sightline.runtime.resources import available_cores, available_memory_bytes

MEBIBYTE = 1 << 20
MAX_DECODER_BYTES = 4096 * MEBIBYTE


class Provider(StrEnum):
    """An execution provider of ONNX Runtime, by the name that the settings give it."""

    TENSORRT = "tensorrt"
    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


class InferenceSettings(BaseSettings):
    """Weights, execution providers and picture limits of one model. Lists may be written as `cuda,cpu`."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    weights: Path | None = Field(
        default=None, description="An ONNX file in place of the shipped one, or `catalogue:NAME` for installed weights"
    )
    contract: Path | None = Field(default=None, description="Its contract, if not beside it as .toml")
    detector: Path | None = Field(
        default=None,
        description="Of models that start from detected objects: the folder or the ONNX file of a detector, with its "
        "contract, in place of the model's own",
    )
    weights_folder: Path = Field(
        default=DEFAULT_FOLDER, description="Folder of the weights that `sightline weights` installed"
    )

    providers: Annotated[tuple[Provider, ...], NoDecode] = Field(
        default=(Provider.CUDA, Provider.CPU),
        min_length=1,
        description="Tried in this order; without `cpu` in it the service refuses to start rather than fall back",
    )
    device: int = Field(default=0, ge=0, description="Index of the GPU")
    gpu_memory_bytes: PositiveInt | None = Field(default=None, description="Largest size of the GPU memory arena")
    tf32: bool = Field(default=True, description="TensorFloat-32 convolutions on CUDA")
    tensorrt_cache: Path | None = Field(default=None, description="Folder of prebuilt engines")
    intra_op_threads: int = Field(default=0, ge=0, description="Threads of one run on the CPU; 0 takes every core")

    evidence_key: Path | None = Field(
        default=None, description="Private key that signs evidence records, as `sightline evidence keygen` makes it"
    )
    content_credentials: bool = Field(
        default=True, description="Embed content credentials (C2PA) into altered pictures"
    )
    credentials_certificate: Path | None = Field(
        default=None, description="Their certificate chain in PEM; by default one that no reader trusts"
    )
    credentials_key: Path | None = Field(default=None, description="The private key of that certificate, in PEM")
    deterministic: bool = Field(
        default=False,
        description="Give the same bytes for the same request whatever else is computed: batches of one sample on "
        "one thread, and no content credentials, which differ in every run",
    )

    max_bytes: PositiveInt = 64 * MEBIBYTE
    max_job_bytes: PositiveInt = 256 * MEBIBYTE
    max_pixels: PositiveInt = 120_000_000
    max_side_px: PositiveInt = 32_767
    max_decode_s: PositiveFloat = Field(
        default=30, description="Processor time that decoding one of the largest pictures may take; smaller ones less"
    )
    max_decode_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory of the processes that decode; 0 takes half of the container's, at most 4 GiB",
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_references(cls, values: Any) -> Any:
        return resolve_settings(values) if isinstance(values, dict) else values

    @field_validator("providers", mode="before")
    @classmethod
    def _split_providers(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.credentials_certificate is None) != (self.credentials_key is None):
            raise ValueError("set SIGHTLINE_CREDENTIALS_CERTIFICATE and SIGHTLINE_CREDENTIALS_KEY both, or neither")
        return self

    @property
    def embeds_credentials(self) -> bool:
        return self.content_credentials and not self.deterministic

    @property
    def catalogue_entry(self) -> str | None:
        """The name of the catalogue's entry that these settings use, or None."""
        return entry_of(self.detector or self.weights, self.weights_folder)

    @property
    def run_workers(self) -> int:
        """Threads of one run; one in deterministic mode, as kernels share out their sums among threads."""
        return 1 if self.deterministic else self.intra_op_threads or available_cores()

    @property
    def largest_bytes(self) -> int:
        """The most that a picture may have, whichever way it comes."""
        return max(self.max_bytes, self.max_job_bytes)

    @property
    def pixel_limits(self) -> PixelLimits:
        """For every picture, whichever way it comes."""
        return PixelLimits(self.largest_bytes, self.max_pixels, self.max_side_px, self.max_decode_s, self.decoder_bytes)

    @property
    def decoder_bytes(self) -> int:
        return self.max_decode_bytes or min(MAX_DECODER_BYTES, available_memory_bytes() // 2)
