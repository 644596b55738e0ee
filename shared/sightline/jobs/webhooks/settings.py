from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY_S = 24 * 3600.0


class WebhookSettings(BaseSettings):
    """Environment variables `SIGHTLINE_WEBHOOK_…`."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_WEBHOOK_")

    allowed_networks: list[IPv4Network | IPv6Network] = Field(
        default_factory=list,
        description='Networks that receivers may be in besides public addresses, as JSON: ["10.0.0.0/8"]',
    )
    timeout_s: PositiveFloat = Field(default=15.0, description="Limit of one attempt, including the lookup of the name")
    name_refusal_s: PositiveFloat = Field(
        default=5.0, description="Time after which names without public addresses are refused; limit of a lookup"
    )
    max_redirects: NonNegativeInt = 3
    retry_delays_s: tuple[PositiveFloat, ...] = Field(
        default=(5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0),
        description="Waits between attempts; after the last one the message is given up",
    )
    max_deliveries: PositiveInt = Field(default=64, description="Concurrent deliveries")
    max_per_receiver: PositiveInt = Field(default=4, description="Concurrent deliveries to one scheme, host and port")
    max_tests: PositiveInt = Field(default=8, description="Concurrent test events")
    poll_interval_s: PositiveFloat = 1.0
    record_ttl_s: PositiveFloat = Field(default=2 * DAY_S, description="Time for which a delivery's record is kept")
