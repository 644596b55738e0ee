import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    HttpUrl,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    TypeAdapter,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from services.gateway.auth.api_keys import KeyName, KeySettings, read_keys
from services.gateway.requests.forwarded_headers import PUBLIC_PREFIX, Network
from services.gateway.upstream.replicas import DNS_PREFIX
from sightline.http.fleet_credential import FleetCredentialSettings, read_credentials

MIB = 1024 * 1024

_http_url = TypeAdapter(HttpUrl)


def _base_url(url: str) -> str:
    _http_url.validate_python(url.removeprefix(DNS_PREFIX))
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
RESERVED = ("models", "capacity", "jobs", "webhooks", "evidence")  # routes of the gateway itself under /v1/


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name} is a route of the gateway itself")
    return name


ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_reserved)]


def _names(value: Any) -> Any:
    """Splits a comma-separated list of model names; `hdr-correct` and `hdr_correct` are the same model."""
    return [name.strip().replace("-", "_") for name in value.split(",") if name] if isinstance(value, str) else value


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?/?")


def _origin(text: str) -> str:
    """Returns the origin as browsers send it: in lower case, without a path and without the scheme's default port."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise ValueError("an origin is written as https://desk.example.org, without a path")
    scheme, host, port = match.groups(default="")
    return f"{scheme}://{host}{'' if port == _SCHEME_PORTS[scheme] else port}"


Origin = Annotated[str, AfterValidator(_origin)]
_SCHEME_PORTS = {"http": ":80", "https": ":443"}


def _root_path(text: str) -> str:
    path = text.strip().rstrip("/")
    if path and not PUBLIC_PREFIX.fullmatch(path):
        raise ValueError("a root path is written as /sightline")
    return path


CommaSeparated = (NoDecode, BeforeValidator(_comma_separated))


class GatewaySettings(FleetCredentialSettings):
    """The gateway's settings, from environment variables `SIGHTLINE_…`.

    `upstreams` is JSON: model name -> base URLs of its replicas. `dns+http://name:port` stands for one replica for each
    address of the name. `models` (such as `inpaint,hdr-correct`) with `model_url` is a short form of `upstreams`.
    """

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_")

    host: str = "127.0.0.1"
    port: int = 8080
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    upstreams: dict[ModelName, Annotated[list[BaseUrl], Field(min_length=1)]] = Field(default_factory=dict)

    models: Annotated[tuple[ModelName, ...], NoDecode, BeforeValidator(_names)] = ()
    model_url: str = Field(default="dns+http://{name}:8000", description="`{name}` is the name in the model's route")

    resting_models: Annotated[tuple[ModelName, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=(), description="Models that may be without a replica until a request for them arrives"
    )

    max_bytes: PositiveInt = 64 * MIB
    max_pixels: PositiveInt = 120_000_000
    max_request_pixels: PositiveInt = Field(
        default=240_000_000, description="All pictures and masks of a request together"
    )
    max_side_px: PositiveInt = 32_767
    max_requests: PositiveInt = Field(default=512, description="Requests in flight")
    max_requests_per_replica: PositiveInt = 256
    max_inflight_bytes: PositiveInt = Field(default=1024 * MIB, description="Bodies in flight, together")
    peek_bytes: PositiveInt = Field(default=4 * MIB, description="Largest offset of a picture's header in a body")
    replay_bytes: int = Field(default=1 * MIB, ge=0, description="Bodies up to this size can be sent again after a 503")

    deadline_s: PositiveFloat = Field(default=28.0, description="Default deadline; common proxies cut at 30 s")
    max_deadline_s: PositiveFloat = 300.0
    upload_timeout_s: PositiveFloat = Field(default=120.0, description="Until a body is complete")
    connect_timeout_s: PositiveFloat = 1.0
    upstream_keep_alive_s: PositiveFloat = Field(default=4.0, description="Below the services' own (uvicorn: 5 s)")

    sync_pixels: PositiveInt = Field(default=16_000_000, description="Larger pictures become jobs")
    max_job_bytes: PositiveInt = Field(default=256 * MIB, description="Bodies above max_bytes become jobs")
    job_upload_timeout_s: PositiveFloat = 900.0
    max_wait_s: PositiveFloat = Field(default=60.0, description="Longest wait for a job within one request")
    max_event_streams: PositiveInt = 256
    overview_interval_s: PositiveFloat = Field(default=5.0, description="Between readings of the queues' depth and age")
    store_probe_interval_s: PositiveFloat = Field(default=15.0, description="Between test writes to the blob store")
    keys: dict[KeyName, KeySettings] = Field(default_factory=dict, description="Without keys, every caller is accepted")
    keys_file: FilePath | None = Field(default=None, description="JSON with further keys")

    evidence_key: FilePath | None = Field(
        default=None, description="The services' private key, if they run on this machine; its public key is published"
    )
    evidence_keys: FilePath | None = Field(default=None, description="JSON Web Key Set of public keys to publish")
    evidence_ttl_s: float = Field(
        default=3600.0, ge=0, description="Time for which the records of pictures are kept in Redis; 0 keeps none"
    )

    allowed_hosts: Annotated[tuple[str, ...], *CommaSeparated] = Field(
        default=(), description="Host names of the gateway besides this machine's own; `*.example.org`, `*`"
    )
    trusted_proxies: Annotated[tuple[Network, ...], *CommaSeparated] = Field(
        default=(), description="Addresses or networks whose X-Forwarded-* is believed"
    )
    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        default="", description="Path prefix that a reverse proxy strips, such as /sightline"
    )
    cors_origins: Annotated[tuple[Origin, ...], *CommaSeparated] = Field(
        default=(), description="Origins whose pages may call the API, such as https://desk.example.org"
    )
    metrics_credential: SecretStr | None = Field(default=None, description="Bearer token for /metrics/targets")
    metrics_credential_file: FilePath | None = Field(default=None, description="A file with that token")

    poll_interval_s: PositiveFloat = Field(
        default=1.5, description="Between probes of a replica; a draining replica stays up for twice as long"
    )
    poll_timeout_s: PositiveFloat = 2.0
    poll_misses: PositiveInt = Field(default=3, description="Late probes in a row that take a replica out")
    docs_assets_url: str | None = Field(default=None, description="Swagger UI's files; default: the shipped copy")

    @cached_property
    def all_keys(self) -> Mapping[str, KeySettings]:
        from_file = read_keys(self.keys_file) if self.keys_file else {}
        return {**from_file, **self.keys}

    @property
    def own_credential(self) -> str | None:
        """The credential that this gateway sends to services."""
        return next(iter(self.fleet_credentials), None)

    @cached_property
    def metrics_credentials(self) -> tuple[str, ...]:
        if self.metrics_credential is not None:
            return read_credentials(self.metrics_credential.get_secret_value())
        return read_credentials(self.metrics_credential_file.read_text("utf-8")) if self.metrics_credential_file else ()

    @model_validator(mode="after")
    def _metrics_credentials_are_usable(self) -> Self:
        _ = self.metrics_credentials
        return self

    @model_validator(mode="after")
    def _models_are_upstreams(self) -> Self:
        urls = {name: _base_url(self.model_url.format(name=name.replace("_", "-"))) for name in self.models}
        self.upstreams = {**{name: [url] for name, url in urls.items()}, **self.upstreams}
        return self

    @model_validator(mode="after")
    def _keys_name_known_models(self) -> Self:
        for name, key in self.all_keys.items():
            if unknown := sorted((key.models or set()) - set(self.upstreams)):
                raise ValueError(f"the key {name!r} is limited to models that are not here: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _default_deadline_is_allowed(self) -> Self:
        if self.deadline_s > self.max_deadline_s:
            raise ValueError("deadline_s must not exceed max_deadline_s")
        return self

    @model_validator(mode="after")
    def _jobs_may_be_larger(self) -> Self:
        if self.max_job_bytes < self.max_bytes:
            raise ValueError("max_job_bytes must not be below max_bytes")
        return self
