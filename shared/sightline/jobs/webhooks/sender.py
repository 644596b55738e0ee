"""HTTP client that sends signed webhooks to addresses that clients choose."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from aiohttp import (
    ClientConnectorCertificateError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from yarl import URL

from sightline import __version__
from sightline.api.problems import Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.address_guard import AddressGuard, AddressRefusedError, GuardedResolver, Lookup
from sightline.jobs.webhooks.message import WebhookMessage, signed_headers
from sightline.jobs.webhooks.settings import WebhookSettings

ANSWER_BYTES = 4096
ANSWER_TIMEOUT_S = 1.0
REDIRECTS = frozenset((301, 302, 307, 308))  # a 303 asks for a GET, which would lose the message
MAX_RETRY_AFTER_S = 3600


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """Result of one attempt: the receiver's status, or a sentence that says why there is none."""

    duration_s: float
    status: int | None = None
    failure: str | None = None
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and HTTPStatus(200) <= self.status < HTTPStatus(300)

    @property
    def unwanted(self) -> bool:
        """True if the receiver wants no more messages at this address (410)."""
        return self.status == HTTPStatus.GONE


class WebhookSender:
    """Sends signed messages to addresses that clients chose; failures of receivers are results, not exceptions."""

    def __init__(self, session: ClientSession, guard: AddressGuard, settings: WebhookSettings) -> None:
        self._session, self._guard, self._settings = session, guard, settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: WebhookSettings, *, lookup: Lookup | None = None) -> AsyncIterator[Self]:
        """Opens a sender; `lookup` replaces the system's resolver."""
        guard = AddressGuard(settings.allowed_networks)
        resolver = GuardedResolver(
            guard, threads=settings.max_deliveries, refusal_s=settings.name_refusal_s, lookup=lookup
        )
        try:
            async with _session(resolver) as session:
                yield cls(session, guard, settings)
        finally:
            await resolver.close()

    @property
    def guard(self) -> AddressGuard:
        return self._guard

    async def send(self, webhook: Webhook, message: WebhookMessage) -> DeliveryAttempt:
        started = time.perf_counter()
        status, failure, retry_after_s = None, None, None
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status, retry_after_s = await self._follow(webhook, message)
        except TimeoutError:
            failure = f"The receiver did not answer within {self._settings.timeout_s:g} s."
        except (AddressRefusedError, Problem, ClientError, OSError, ValueError) as error:
            failure = _sentence(error)
        return DeliveryAttempt(time.perf_counter() - started, status, failure, retry_after_s)

    async def _follow(self, webhook: Webhook, message: WebhookMessage) -> tuple[int, float | None]:
        """Returns status and Retry-After of the first response that is not a redirect."""
        url = URL(webhook.url)
        headers = _headers(webhook, message)
        for _ in range(self._settings.max_redirects + 1):
            self._guard.check(url)
            async with self._session.post(url, data=message.body, headers=headers, allow_redirects=False) as answer:
                if answer.status not in REDIRECTS or "Location" not in answer.headers:
                    await _drain(answer)
                    return answer.status, _retry_after_s(answer)
                url = _next(url, answer.headers["Location"])
        raise AddressRefusedError(f"The receiver redirected more than {self._settings.max_redirects} times.")


def _session(resolver: GuardedResolver) -> ClientSession:
    connector = TCPConnector(
        limit=0,
        resolver=resolver,
        use_dns_cache=False,
        # A kept connection would be reused without a new check of its address.
        force_close=True,
        ssl=ssl.create_default_context(),
    )
    return ClientSession(
        connector=connector, timeout=ClientTimeout(total=None), cookie_jar=DummyCookieJar(), trust_env=False
    )


def _headers(webhook: Webhook, message: WebhookMessage) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Sightline-Webhooks/{__version__}",
        "Accept-Encoding": "identity",
        **signed_headers(webhook.secret, message.id, message.body, timestamp_s=int(time.time())),
    }


def _next(url: URL, location: str) -> URL:
    there = url.join(URL(location))
    if url.scheme == "https" and there.scheme != "https":
        raise AddressRefusedError("The receiver redirected from https to an address without it.")
    return there


async def _drain(answer: ClientResponse) -> None:
    """Reads the first bytes of the body, so that the connection is not cut off while the receiver sends."""
    with suppress(ClientError, OSError):
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await answer.content.read(ANSWER_BYTES)


def _retry_after_s(answer: ClientResponse) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdecimal() and len(text) < 9 else None


def _sentence(error: Exception) -> str:
    """Returns why there is no response, without the address or anything that the receiver sent."""
    match error:
        case AddressRefusedError() | Problem():
            return str(error)
        case ClientConnectorCertificateError():
            return "No secure connection to the receiver could be made: its certificate does not hold."
        case ClientSSLError():
            return "No secure connection to the receiver could be made."
        case InvalidURL() | ValueError():
            return "The receiver's address is not a URL that can be called."
    return "The connection to the receiver failed."
