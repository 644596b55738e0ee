"""The fleet credential, by which a model service recognises its gateway.

The gateway alone checks callers' keys. So that a service does not answer those who bypass the gateway, the gateway
sends a secret with each request, and the service compares it.
"""

import hmac
from collections.abc import Sequence
from functools import cached_property
from http import HTTPMethod
from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import problem_response

# For probes and Prometheus, which have no secret. They show the model, its version and counts, nothing of a request.
OPEN_PATHS = frozenset(("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"))
OPEN_METHODS = frozenset((HTTPMethod.GET, HTTPMethod.HEAD))
MIN_CHARACTERS = 16


class FleetCredentialSettings(BaseSettings):
    """`SIGHTLINE_FLEET_CREDENTIAL` or `SIGHTLINE_FLEET_CREDENTIAL_FILE`; without either, services answer everybody.

    Several credentials, one a line, allow to replace one: a gateway sends the first, a service accepts each.
    """

    # Errors end in logs, and would quote the credential.
    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", hide_input_in_errors=True)

    fleet_credential: SecretStr | None = Field(default=None, description="Between gateway and services")
    fleet_credential_file: FilePath | None = Field(default=None, description="A file with the same")

    @cached_property
    def fleet_credentials(self) -> tuple[str, ...]:
        """The accepted credentials, the one to send first; empty where none is configured."""
        if self.fleet_credential is not None:
            return read_credentials(self.fleet_credential.get_secret_value())
        return read_credentials(self.fleet_credential_file.read_text("utf-8")) if self.fleet_credential_file else ()

    @model_validator(mode="after")
    def _credentials_are_usable(self) -> Self:
        # Read now: a file that is empty by mistake must end the start, and never leave a service open.
        _ = self.fleet_credentials
        return self


def read_credentials(text: str) -> tuple[str, ...]:
    """Returns the credentials in a text, one a line.

    Raises ValueError where there is none or one is too short; its message does not quote them.
    """
    credentials = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not credentials or any(len(each) < MIN_CHARACTERS or not _is_visible(each) for each in credentials):
        raise ValueError(f"a credential needs at least {MIN_CHARACTERS} visible ASCII characters")
    return credentials


def is_accepted(presented: bytes, credentials: Sequence[str]) -> bool:
    """Returns whether a credential is one of the accepted ones, in time that does not depend on the answer."""
    matches = [hmac.compare_digest(presented, each.encode("ascii")) for each in credentials]
    return any(matches)


class FleetCredentialMiddleware:
    """Refuses requests without the fleet credential before their body is read.

    Probes need none, but one that is sent must be right: a gateway with a wrong one then finds the service not ready.
    """

    def __init__(self, app: ASGIApp, credentials: Sequence[str]) -> None:
        self.app, self._credentials = app, credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._admits(scope):
            headers = {"WWW-Authenticate": f"{names.FLEET_CREDENTIAL}"}
            await problem_response(_refusal(), scope["path"], headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        header = names.FLEET_CREDENTIAL.lower().encode()
        presented = [value for name, value in scope["headers"] if name == header]
        if not presented:
            return scope["method"] in OPEN_METHODS and scope["path"] in OPEN_PATHS
        return len(presented) == 1 and is_accepted(presented[0], self._credentials)


def _refusal() -> Problem:
    return Problem(Code.UNAUTHORIZED, "This service answers its gateway alone; send your request to the gateway.")


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
