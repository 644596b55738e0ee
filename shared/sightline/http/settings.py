"""Settings of the HTTP server, as environment variables with the prefix SIGHTLINE_."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ServerSettings(BaseSettings):
    """Address, connection limits and shutdown of one server process."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    max_connections: PositiveInt = Field(default=8192, description="Fewer where the limit of open files is lower")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Addresses or networks of proxies, which bring the connections of many clients"
    )
    max_connections_per_address: PositiveInt = Field(default=512, description="Of IPv6, per network of 64 bits")
    head_timeout_s: PositiveFloat = Field(default=20, description="Time for the request line and the headers to arrive")
    keep_alive_s: PositiveInt = Field(
        # Longer than clients and gateways keep an idle connection, so that they are the ones to close it.
        default=65,
        description="How long a connection without a request stays open",
    )
    min_bytes_per_s: float = Field(
        default=512, ge=0, description="A client that sends or takes less is cut off after rate_window_s; 0: never"
    )
    rate_window_s: PositiveFloat = 20
    drain_s: PositiveFloat = Field(default=30, description="Time that a stopping service has for accepted requests")
    drain_notice_s: float = Field(default=0, ge=0, description="Time from not ready to closing the port")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
