"""Settings of a model service, as environment variables with the prefix SIGHTLINE_."""

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import SettingsConfigDict

from sightline.http.fleet_credential import FleetCredentialSettings
from sightline.http.settings import ServerSettings
from sightline.inference.settings import MEBIBYTE, InferenceSettings
from sightline.runtime.resources import available_cores


class ServiceSettings(ServerSettings, InferenceSettings, FleetCredentialSettings):
    """Settings of one model service."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    max_pictures: PositiveInt = 64
    max_request_pixels: PositiveInt = Field(
        default=240_000_000, description="Of all pictures and masks of a request together, by their headers"
    )
    codec_threads: int = Field(default=0, ge=0, description="Threads that decode and encode; 0 takes every core")
    max_batch: PositiveInt = 8
    max_queue_ms: PositiveFloat = Field(
        default=20_000, description="Requests are refused beyond so much estimated work ahead"
    )
    max_in_flight: PositiveInt = Field(default=128, description="Requests are refused beyond so many in flight")
    max_in_flight_bytes: PositiveInt = Field(
        default=1024 * MEBIBYTE, description="The same for the total size of their bodies"
    )
    read_timeout_s: PositiveFloat = Field(default=120, description="Time for a request body to arrive")
    stall_s: PositiveFloat = Field(
        default=120, description="A batch that runs longer means that the device hangs: the process ends with code 70"
    )
    deadline_ms: PositiveFloat = Field(default=28_000, description="For requests that name none; proxies cut at 30 s")
    job_slots: int = Field(default=2, ge=0, description="Jobs run at once; with 0 this replica takes none")
    job_deadline_s: PositiveFloat = Field(default=900, description="Time limit of one attempt at a job")

    @property
    def largest_batch(self) -> int:
        """The most samples in one run; one in deterministic mode, as kernels sum in an order that depends on it."""
        return 1 if self.deterministic else self.max_batch

    @property
    def codec_workers(self) -> int:
        return self.codec_threads or available_cores()
