"""Settings of the inference engine, as environment variables with the prefix SIGHTLINE_."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sightline.runtime.resources import available_cores


class Provider(StrEnum):
    """An execution provider of ONNX Runtime, by the name that the settings give it."""

    TENSORRT = "tensorrt"
    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


class InferenceSettings(BaseSettings):
    """Weights and execution providers of one model. Lists may be written as `cuda,cpu`."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    weights: Path | None = Field(default=None, description="An ONNX file in place of the shipped one")
    contract: Path | None = Field(default=None, description="Its contract, if not beside it as .toml")

    providers: Annotated[tuple[Provider, ...], NoDecode] = Field(
        default=(Provider.CUDA, Provider.CPU),
        min_length=1,
        description="Tried in this order; without `cpu` in it the service refuses to start rather than fall back",
    )
    device: int = Field(default=0, ge=0, description="Which GPU")
    gpu_memory_bytes: PositiveInt | None = Field(default=None, description="The most that the GPU arena may take")
    tf32: bool = Field(default=True, description="TensorFloat-32 convolutions on CUDA")
    tensorrt_cache: Path | None = Field(default=None, description="Folder of engines built ahead")
    intra_op_threads: int = Field(default=0, ge=0, description="Threads of one run on the CPU; 0 takes every core")

    @field_validator("providers", mode="before")
    @classmethod
    def _split_providers(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @property
    def run_workers(self) -> int:
        return self.intra_op_threads or available_cores()
