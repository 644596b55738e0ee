"""One prediction of `sightline predict`: the body to write, and the facts that its summary shows."""

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile, ZipFile

from sightline.api import headers
from sightline.api.media_types import JSON, SIGNATURES, ZIP
from sightline.cli.output import CommandError
from sightline.client.results import HttpReply
from sightline.inference.predictor import Rendered

RECORD_NAME = "record.json"


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """A result in the requested type.

    record: the model's JSON record, None where a server's reply is a picture; headers: by name in lower case.
    """

    model: str
    body: bytes
    media_type: str
    headers: Mapping[str, str]
    record: Mapping[str, Any] | None

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    @property
    def request_id(self) -> str | None:
        return self.header(headers.REQUEST_ID) or self._evidence.get("request_id")

    @property
    def notes(self) -> list[str]:
        """Remarks on the picture or its encoding, such as first-frame-only."""
        return [each.strip() for each in (self.header(headers.NOTES) or "").split(",") if each.strip()]

    @property
    def files(self) -> list[str]:
        """Names of the files in an archive."""
        if self.media_type != ZIP:
            return []
        with suppress(BadZipFile), ZipFile(io.BytesIO(self.body)) as archive:
            return archive.namelist()
        return []

    @property
    def _evidence(self) -> Mapping[str, Any]:
        evidence: Mapping[str, Any] = (self.record or {}).get("evidence", {})
        return evidence


def local_result(model: str, renderings: tuple[Rendered, ...]) -> PredictionResult:
    """Returns the first rendering, with the record among the others."""
    first = renderings[0]
    records = [each.body for each in renderings if each.media_type == JSON]
    named = {name.lower(): value for name, value in first.headers.items()}
    return PredictionResult(model, first.body, first.media_type, named, json.loads(records[0]) if records else None)


def remote_result(model: str, reply: HttpReply, media_type: str) -> PredictionResult:
    """Returns a server's reply. Raises CommandError if the body is not of the type, so that it is not written."""
    if not _has_signature(reply.body, media_type):
        raise CommandError(f"the server sent a body that is not {media_type}, although it says so; nothing was written")
    return PredictionResult(model, reply.body, media_type, reply.headers, _record_in(reply.body, media_type))


def _record_in(body: bytes, media_type: str) -> Mapping[str, Any] | None:
    if media_type == JSON:
        record = json.loads(body)
        return record if isinstance(record, dict) else None
    if media_type == ZIP:
        with suppress(BadZipFile, KeyError, ValueError), ZipFile(io.BytesIO(body)) as archive:
            return dict(json.loads(archive.read(RECORD_NAME)))
    return None


def _has_signature(body: bytes, media_type: str) -> bool:
    # A proxy's error page may carry the requested media type by mistake.
    if signature := SIGNATURES.get(media_type):
        return body.startswith(signature)
    if not media_type.endswith("json"):
        return bool(body)
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
