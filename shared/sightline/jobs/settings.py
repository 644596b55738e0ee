"""Settings of the job queue."""

from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, FilePath, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sightline.jobs.connection import SENTINEL_SCHEMES

GIB = 1024**3
DAY_S = 24 * 3600.0
SCHEMES = ("redis://", "rediss://", "unix://", *SENTINEL_SCHEMES)


def _redis_url(url: str) -> str:
    if not url.startswith(SCHEMES):
        raise ValueError(f"must start with one of {', '.join(SCHEMES)}")
    return url


class JobSettings(BaseSettings):
    """Environment variables `SIGHTLINE_…`; the gateway and all services on one Redis must agree on them."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_")

    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(default=None, description="None: no jobs")
    redis_password_file: FilePath | None = Field(
        default=None, description="File with the password, if it is not in the URL"
    )
    redis_prefix: str = Field(default="sightline:", description="Prefix of every key")
    blobs_url: str | None = Field(default=None, description="file:///folder or s3://bucket/prefix")

    lease_s: PositiveFloat = Field(default=30.0, description="A worker that does not respond for longer loses its job")
    max_lost_leases: PositiveInt = Field(default=3, description="A job that lost this many leases is dead")
    max_attempts: PositiveInt = 5
    retry_base_s: PositiveFloat = Field(
        default=2.0, description="Upper bound of the first random wait; doubles each time"
    )
    retry_cap_s: PositiveFloat = 120.0

    bulk_share: PositiveInt = Field(default=4, description="One bulk job runs after this many interactive ones")
    max_running_per_owner: PositiveInt | None = Field(
        default=None, description="For owners without a limit of their own"
    )
    max_queued_per_model: PositiveInt = 100_000
    max_stored_bytes: PositiveInt = 20 * GIB

    result_ttl_s: PositiveFloat = Field(default=DAY_S, description="Time for which a result is kept")
    record_ttl_s: PositiveFloat = Field(default=DAY_S, description="Time for which a job is kept after its result")
    dead_ttl_s: PositiveFloat = Field(default=7 * DAY_S, description="Time for which a dead job can be retried")

    @model_validator(mode="after")
    def _password_is_in_the_url(self) -> Self:
        if self.redis_url and self.redis_password_file:
            password, self.redis_password_file = self.redis_password_file.read_text().strip(), None
            url = urlsplit(self.redis_url)
            user, _, host = url.netloc.rpartition("@")
            self.redis_url = url._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
        return self
