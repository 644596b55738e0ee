"""Resumable download of one file over HTTP; each fault is a sentence that says what to do."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx2

from sightline.cli.output import CommandError, printable
from sightline.cli.weights.part_file import PartFile, PartWriter, megabytes
from sightline.client.connection import LOOPBACK_HOSTS, media_type_of, reason_of
from sightline.runtime.retries import retry

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 60.0
ATTEMPTS = 8
"""Attempts in a row that bring no further bytes."""
MAX_REDIRECTS = 5
REDIRECTS = frozenset((301, 302, 303, 307, 308))
REFUSED = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED))
GONE = frozenset((HTTPStatus.NOT_FOUND, HTTPStatus.GONE))
BUSY = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS))
WEB_PAGES = frozenset(("text/html", "application/xhtml+xml"))
WEB_PAGE_STARTS = (b"<!doctype html", b"<html")
BY_HAND = "download the file another way, and install it with --from FILE"

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes so far and in total."""
Notify = Callable[[str], None]


class DownloadError(CommandError):
    """The source does not give the file."""


class InterruptedDownloadError(DownloadError):
    """The transfer stopped; it may continue in another attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An address and what is known of the file there.

    size_bytes: the exact size, or None. max_bytes: more than this is not downloaded. has_digest: whether the digest is
    known, so that a wrong mixture of two versions is detected. allows_host: whether to follow redirects to this host.
    """

    url: str
    size_bytes: int | None
    max_bytes: int
    has_digest: bool
    allows_host: Callable[[str], bool]

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


class Download:
    """Downloads a source into a part file, across interruptions of the connection and of the command."""

    def __init__(
        self, source: Source, part: PartFile, *, progress: Progress, notify: Notify, attempts: int = ATTEMPTS
    ) -> None:
        self._source, self._part, self._attempts = source, part, attempts
        self._progress, self._notify = progress, notify
        self._most_bytes = part.size
        self.has_resumed = False

    async def run(self) -> None:
        """Completes the part file; raises DownloadError, or CommandError for a full disk."""
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        # A proxy from the environment must not be used for this machine.
        is_local = self._source.host in LOOPBACK_HOSTS
        async with httpx2.AsyncClient(timeout=timeout, trust_env=not is_local, follow_redirects=False) as client:
            while True:
                before = self._most_bytes
                try:
                    await retry(lambda: self._transfer(client), on=_may_continue, event=None, attempts=self._attempts)
                except InterruptedDownloadError as error:
                    if self._most_bytes <= before:
                        raise self._gave_up(error) from None
                else:
                    return

    async def _transfer(self, client: httpx2.AsyncClient) -> None:
        url, headers = self._source.url, self._headers()
        try:
            for _ in range(MAX_REDIRECTS + 1):
                async with client.stream("GET", url, headers=headers) as reply:
                    if reply.status_code not in REDIRECTS:
                        return await self._receive(reply, resumes="Range" in headers)
                    url = self._redirected(url, reply)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            self._note_progress()
            raise InterruptedDownloadError(f"{self._source.host} cannot be reached: {reason_of(error)}") from error
        raise DownloadError(f"{self._source.host} redirects in a circle; {BY_HAND}")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        size, validator = self._part.size, self._part.validator
        # Without a validator, only the digest at the end shows that both parts are of the same file.
        if not size or (validator is None and not self._source.has_digest):
            return headers
        return headers | {"Range": f"bytes={size}-"} | ({"If-Range": validator} if validator else {})

    def _redirected(self, url: str, reply: httpx2.Response) -> str:
        target = urljoin(url, reply.headers.get("location", ""))
        here, there = urlsplit(url), urlsplit(target)
        shown = printable(f"{there.scheme}://{there.netloc}")
        if there.scheme not in ("http", "https") or (here.scheme == "https" and there.scheme != "https"):
            raise DownloadError(f"{here.hostname} redirects to {shown}, which is not protected by TLS; {BY_HAND}")
        host = there.hostname or ""
        if (host, there.port) != (here.hostname, here.port) and not self._source.allows_host(host):
            raise DownloadError(
                f"{here.hostname} redirects to another server, {shown}, which the catalogue does not name. It may be "
                f"the login page of a network. Where you trust it, give its address with --url; else {BY_HAND}"
            )
        return target

    async def _receive(self, reply: httpx2.Response, *, resumes: bool) -> None:
        if reply.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and resumes:
            self._accept_end(reply)
            return
        self._require_file(reply)
        start = self._start(reply, resumes=resumes)
        total = self._total(reply, start)
        expected = self._source.size_bytes or total
        self._part.require_space((expected or self._source.max_bytes) - start)
        with self._part.appending() as part:
            await self._write(reply, part, expected)
        if expected is not None and self._part.size < expected:
            self._note_progress()
            raise InterruptedDownloadError(f"{self._source.host} ended the transfer early")

    async def _write(self, reply: httpx2.Response, part: PartWriter, expected: int | None) -> None:
        size, limit = self._part.size, expected or self._source.max_bytes
        async for block in reply.aiter_raw():
            if not size and _is_web_page(block):
                raise self._web_page()
            size += len(block)
            if size > limit:
                self._part.remove()
                raise DownloadError(f"{self._source.host} sends more than the {limit} bytes of the file; {BY_HAND}")
            part.write(block)
            self._progress(size, expected)

    def _start(self, reply: httpx2.Response, *, resumes: bool) -> int:
        """Returns the position of the first byte of the reply; the part file then ends there."""
        if reply.status_code != HTTPStatus.PARTIAL_CONTENT:
            if resumes:
                self._notify(f"{self._source.host} does not continue downloads; starting again.")
            self._part.start_over(_validator(reply))
            return 0
        first, _ = _content_range(reply)
        if first != self._part.size:
            self._part.start_over()
            raise InterruptedDownloadError(f"{self._source.host} sent another part than the one requested")
        self.has_resumed = True
        return first

    def _total(self, reply: httpx2.Response, start: int) -> int | None:
        """Returns the size of the whole file if the server tells it; raises DownloadError if it is a wrong one."""
        _, total = _content_range(reply)
        length = reply.headers.get("content-length", "")
        if total is None and length.isdecimal():
            total = start + int(length)
        expected = self._source.size_bytes
        if total is not None and (total != expected if expected else total > self._source.max_bytes):
            self._part.remove()
            limit = expected or f"at most {self._source.max_bytes}"
            raise DownloadError(
                f"{self._source.host} offers a file of {total} bytes, but the catalogue says {limit}: it is another "
                f"file. Nothing was installed; {BY_HAND}"
            )
        return total

    def _accept_end(self, reply: httpx2.Response) -> None:
        """Accepts the part file as complete if the server has no further bytes; else the download starts again."""
        _, total = _content_range(reply)
        if total != self._part.size:
            self._part.start_over()
            raise InterruptedDownloadError(f"{self._source.host} has another version of the file")

    def _require_file(self, reply: httpx2.Response) -> None:
        """Raises DownloadError for replies that are no file."""
        host, status = self._source.host, reply.status_code
        if status in REFUSED:
            raise DownloadError(
                f"{host} refuses the download ({status}); it needs a login, or a proxy forbids it: {BY_HAND}"
            )
        if status in GONE:
            raise DownloadError(f"{host} no longer has the file ({status}); {BY_HAND}")
        if status in BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise InterruptedDownloadError(f"{host} is busy or out of order ({status})")
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(f"{host} answers {status} instead of sending the file; {BY_HAND}")
        if media_type_of(reply) in WEB_PAGES:
            raise self._web_page()
        if (encoding := reply.headers.get("content-encoding", "identity")) != "identity":
            raise DownloadError(f"{host} sends the file in the encoding {printable(encoding)} unasked; {BY_HAND}")

    def _web_page(self) -> DownloadError:
        self._part.remove()
        return DownloadError(
            f"{self._source.host} sends a web page instead of the file, such as the login page of a network; log in "
            f"with a browser and run the command again, or {BY_HAND}"
        )

    def _note_progress(self) -> None:
        self._most_bytes = max(self._most_bytes, self._part.size)

    def _gave_up(self, error: InterruptedDownloadError) -> DownloadError:
        size, total = self._part.size, self._source.size_bytes
        so_far = f"{megabytes(size)}{f' of {megabytes(total)}' if total else ''} are here"
        again = f"Run the command again to continue ({so_far})" if size else "Run the command again later"
        return DownloadError(f"{str(error).rstrip('.')}, {self._attempts} times in a row. {again}, or {BY_HAND}")


def _may_continue(error: Exception) -> bool:
    return isinstance(error, InterruptedDownloadError)


def _validator(reply: httpx2.Response) -> str | None:
    """Returns what `If-Range` may name: a strong ETag, else the date of the last change (RFC 9110, 13.1.5)."""
    etag = reply.headers.get("etag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return reply.headers.get("last-modified")


def _content_range(reply: httpx2.Response) -> tuple[int | None, int | None]:
    """Returns the first position and the total size in `Content-Range`, each None if it is not told."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", reply.headers.get("content-range", "").strip())
    if match is None:
        return None, None
    first, total = match.groups()
    return (None if first is None else int(first)), (None if total == "*" else int(total))


def _is_web_page(start: bytes) -> bool:
    return start.lstrip()[:20].lower().startswith(WEB_PAGE_STARTS)
