"""Completes replies: content credentials of altered pictures, the evidence record with its digests, its signature."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from typing import Protocol, Self
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from sightline.api import headers as names
from sightline.api.evidence import Alteration, DigestForm, Evidence, ResultDigest
from sightline.api.media_types import JSON
from sightline.evidence.canonical_json import EVIDENCE, signed_bytes, to_header, without_evidence
from sightline.inference.predictor import Rendered
from sightline.inference.settings import InferenceSettings

SINCE_1980 = (1980, 1, 1, 0, 0, 0)
"""Time of every file in an archive, so that equal results have equal bytes; ZIP knows no earlier one."""


class Signer(Protocol):
    """A private key, whose public key has an identifier."""

    @property
    def key_id(self) -> str: ...
    def sign(self, content: bytes) -> str: ...


class Credentials(Protocol):
    """Embeds content credentials into altered pictures."""

    def embed(
        self, picture: bytes, media_type: str, alteration: Alteration, evidence: Evidence, original: bytes
    ) -> bytes: ...


class DevelopmentCredentials:
    """Content credentials by a certificate that no reader trusts, which is made for the first altered picture.

    Models that alter none never load the libraries, which take 28 MB.
    """

    def embed(
        self, picture: bytes, media_type: str, alteration: Alteration, evidence: Evidence, original: bytes
    ) -> bytes:
        return _development_credentials().embed(picture, media_type, alteration, evidence, original)


@cache
def _development_credentials() -> Credentials:
    from sightline.evidence.content_credentials import ContentCredentials

    return ContentCredentials.of(None, None)


def _open_credentials(settings: InferenceSettings) -> Credentials:
    if settings.credentials_certificate is None:
        return DevelopmentCredentials()
    from sightline.evidence.content_credentials import ContentCredentials

    # At once, so that a certificate that cannot be used ends the service before it takes requests.
    return ContentCredentials.of(settings.credentials_certificate, settings.credentials_key)


@dataclass(frozen=True, slots=True)
class Seal:
    """The part of a service that completes replies; it signs records with a signer, and pictures with credentials."""

    signer: Signer | None = None
    credentials: Credentials | None = None
    deterministic: bool = False

    @classmethod
    def of(cls, settings: InferenceSettings) -> Self:
        """The seal with the keys that the settings name; raises KeyFileError."""
        signer, credentials = None, None
        # Imported here, as it takes memory that services without keys need not have.
        if settings.evidence_key is not None:
            from sightline.evidence.signing_keys import SigningKey

            signer = SigningKey.read(settings.evidence_key)
        if settings.embeds_credentials:
            credentials = _open_credentials(settings)
        return cls(signer, credentials, settings.deterministic)

    def complete(self, rendered: Rendered, evidence: Evidence, original: bytes = b"") -> Rendered:
        """Returns the reply with its record: in JSON as `evidence`, in an archive's record, else in a header.

        original: the picture as it was sent, for the content credentials of altered ones.
        """
        if rendered.files is not None:
            files = {name: self._credential(file, evidence, original) for name, file in rendered.files.items()}
            return self._complete_archive(rendered, files, evidence)
        if rendered.media_type == JSON:
            return self._complete_json(rendered, evidence)
        credentialed = self._credential(rendered, evidence, original)
        return _with_header(credentialed, self._sign(evidence, [digest_of(None, credentialed)]))

    def _credential(self, rendered: Rendered, evidence: Evidence, original: bytes) -> Rendered:
        if self.credentials is None or rendered.alteration is None:
            return rendered
        plain = rendered.body
        body = self.credentials.embed(plain, rendered.media_type, rendered.alteration, evidence, original)
        return replace(rendered, body=body, plain_sha256=hashlib.sha256(plain).hexdigest())

    def _complete_json(self, rendered: Rendered, evidence: Evidence) -> Rendered:
        reply = json.loads(rendered.body)
        digest = _digest_of_reply(None, reply)
        return replace(rendered, body=_with_evidence(reply, self._sign(evidence, [digest])))

    def _complete_archive(self, rendered: Rendered, files: Mapping[str, Rendered], evidence: Evidence) -> Rendered:
        """Writes the archive without compression, as its files are compressed already."""
        records = {name: json.loads(file.body) for name, file in files.items() if file.media_type == JSON}
        digests = [
            _digest_of_reply(name, records[name]) if name in records else digest_of(name, file)
            for name, file in files.items()
        ]
        signed = self._sign(evidence, digests)
        bodies = {name: _with_evidence(record, signed) for name, record in records.items()}
        archive = BytesIO()
        with ZipFile(archive, "w", ZIP_STORED) as zip_file:
            for name, file in files.items():
                zip_file.writestr(ZipInfo(name, SINCE_1980), bodies.get(name, file.body))
        return _with_header(replace(rendered, body=archive.getvalue(), files=None), signed)

    def _sign(self, evidence: Evidence, digests: Sequence[ResultDigest]) -> Evidence:
        complete = evidence.model_copy(update={"results": list(digests)})
        if self.signer is None:
            return complete
        complete = complete.model_copy(update={"signing_key": self.signer.key_id})
        signature = self.signer.sign(signed_bytes(complete.model_dump(mode="json")))
        return complete.model_copy(update={"signature": signature})


def digest_of(name: str | None, rendered: Rendered) -> ResultDigest:
    """Returns the digest of a file of the reply."""
    sha256 = hashlib.sha256(rendered.body).hexdigest()
    return ResultDigest(
        name=name,
        media_type=rendered.media_type,
        sha256=sha256,
        size_bytes=len(rendered.body),
        uncredentialed_sha256=rendered.plain_sha256,
    )


def _digest_of_reply(name: str | None, reply: Mapping[str, object]) -> ResultDigest:
    form = without_evidence(reply)
    sha256 = hashlib.sha256(form).hexdigest()
    return ResultDigest(name=name, media_type=JSON, sha256=sha256, size_bytes=len(form), form=DigestForm.JSON)


_to_json = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _with_evidence(reply: Mapping[str, object], evidence: Evidence) -> bytes:
    return _to_json({**reply, EVIDENCE: evidence.model_dump(mode="json")}).encode()


def _with_header(rendered: Rendered, evidence: Evidence) -> Rendered:
    header = to_header(evidence)
    return replace(rendered, headers={**rendered.headers, names.EVIDENCE: header}) if header else rendered
