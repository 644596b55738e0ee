"""What an operator may set for a model service, as environment variables with the prefix SIGHTLINE_."""

import math
import os
import sys
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from sightline.http.fleet_credential import FleetCredentialSettings
from sightline.imaging.limits import PixelLimits

MEBIBYTE = 1 << 20
MAX_DECODER_BYTES = 4096 * MEBIBYTE
CGROUPS = Path("/sys/fs/cgroup")


class Provider(StrEnum):
    """What can run a model."""

    TENSORRT = "tensorrt"
    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


class ServiceSettings(FleetCredentialSettings):
    """One model service. Lists may be written as `cuda,cpu`."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    max_connections: PositiveInt = Field(default=8192, description="Fewer where the limit of open files is lower")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Addresses or networks of proxies, which bring the connections of many clients"
    )
    max_connections_per_address: PositiveInt = Field(default=512, description="Of IPv6, per network of 64 bits")
    head_timeout_s: PositiveFloat = Field(default=20, description="For the request line and the headers to come in")
    keep_alive_s: PositiveInt = Field(
        # Longer than clients and gateways keep an idle connection, so that they are the ones to close it.
        default=65,
        description="How long a connection without a request stays open",
    )
    min_bytes_per_s: float = Field(
        default=512, ge=0, description="A client that sends or takes less is cut off after rate_window_s; 0: never"
    )
    rate_window_s: PositiveFloat = 20

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

    max_bytes: PositiveInt = 64 * MEBIBYTE
    max_pixels: PositiveInt = 120_000_000
    max_side_px: PositiveInt = 32_767
    max_pictures: PositiveInt = 64
    max_request_pixels: PositiveInt = Field(
        default=240_000_000, description="Of all pictures and masks of a request together, by their headers"
    )
    max_decode_s: PositiveFloat = Field(
        default=30, description="Processor time that decoding one of the largest pictures may take; smaller ones less"
    )
    max_decode_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory of the processes that decode; 0 takes half of the container's, at most 4 GiB",
    )

    codec_threads: int = Field(default=0, ge=0, description="Threads that decode and encode; 0 takes every core")
    max_batch: PositiveInt = 8
    max_queue_ms: PositiveFloat = Field(default=20_000, description="Estimated work ahead beyond which to refuse")
    max_in_flight: PositiveInt = Field(default=128, description="Requests held at once beyond which to refuse")
    max_in_flight_bytes: PositiveInt = Field(default=1024 * MEBIBYTE, description="The same for their bodies together")
    read_timeout_s: PositiveFloat = Field(default=120, description="How long a request may take to come in")
    stall_s: PositiveFloat = Field(
        default=120, description="A batch that runs longer means that the device hangs: the process ends with code 70"
    )
    deadline_ms: PositiveFloat = Field(default=28_000, description="For requests that name none; proxies cut at 30 s")
    job_slots: int = Field(default=2, ge=0, description="Jobs worked on at once; with 0 this replica takes none")
    job_deadline_s: PositiveFloat = Field(default=900, description="How long one attempt at a job may take")
    max_job_bytes: PositiveInt = 256 * MEBIBYTE
    drain_s: PositiveFloat = Field(default=30, description="How long a stopping service works on what it accepted")
    drain_notice_s: float = Field(default=0, ge=0, description="How long it says so before it closes its port")

    @field_validator("providers", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

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

    @property
    def codec_workers(self) -> int:
        return self.codec_threads or available_cores()

    @property
    def run_workers(self) -> int:
        return self.intra_op_threads or available_cores()


def available_cores() -> int:
    """The cores that this process may use, which in a container are fewer than the machine's."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, cores_of_quota(CGROUPS))


def cores_of_quota(cgroups: Path) -> int:
    """What a container's share of time comes to, rounded up: more threads than that would only be held up."""
    first = cgroups / "cpu"  # of version 1 of control groups, where -1 is no limit
    quota = _words(cgroups / "cpu.max") or _words(first / "cpu.cfs_quota_us") + _words(first / "cpu.cfs_period_us")
    if len(quota) < 2 or not quota[0].isdigit():  # no container, or one without a limit: `max 100000`
        return sys.maxsize
    return math.ceil(int(quota[0]) / int(quota[1]))


def available_memory_bytes() -> int:
    """The machine's memory, or the container's limit where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, memory_limit_bytes(CGROUPS))


def memory_limit_bytes(cgroups: Path) -> int:
    """Of the container, in both versions of control groups."""
    limit = _words(cgroups / "memory.max") or _words(cgroups / "memory" / "memory.limit_in_bytes")
    # No container, or one without a limit: `max`, in version 1 a number beyond every machine.
    return int(limit[0]) if limit and limit[0].isdigit() else sys.maxsize


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
