"""Verification of evidence records on files alone: what holds, what does not, and what nobody claims."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from sightline.api.evidence import DigestForm, Evidence, InputDigest, ResultDigest
from sightline.evidence.bundle import BundleFile
from sightline.evidence.canonical_json import SIGNATURE, signed_bytes, without_evidence
from sightline.evidence.content_credentials import CredentialState, read_credentials
from sightline.evidence.signing_keys import SignatureError, VerificationKey, key_id

Keys = Mapping[str, VerificationKey]


class Status(StrEnum):
    """Outcome of a check; only `fails` makes the verification fail."""

    HOLDS = "holds"
    FAILS = "fails"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked claim, or a remark. code: stable, for programs; detail: a sentence; file: the file it is about."""

    status: Status
    code: str
    detail: str
    file: str | None = None


@dataclass(slots=True)
class Report:
    """All findings about some files."""

    findings: list[Finding] = field(default_factory=list)
    records: int = 0

    @property
    def holds(self) -> bool:
        """True if there is a record, and every claim holds."""
        return self.records > 0 and not any(each.status is Status.FAILS for each in self.findings)


def verify(files: Sequence[BundleFile], keys: Keys | None = None) -> Report:
    """Checks every record among the files, and that every file belongs to one.

    keys: trusted public keys by their thumbprints; with keys, an unsigned record fails.
    """
    report, covered = Report(), set[str]()
    for file in files:
        if file.record is not None:
            report.records += 1
            report.findings += _RecordCheck(file, files, keys, covered).findings()
    if not report.records:
        report.findings.append(
            Finding(Status.FAILS, "record-missing", "None of the files holds an evidence record, so nothing is shown.")
        )
    report.findings += _uncovered(files, covered)
    return report


class _RecordCheck:
    """Checks of one record; adds the names of the files that it covers to `covered`."""

    def __init__(self, file: BundleFile, files: Sequence[BundleFile], keys: Keys | None, covered: set[str]) -> None:
        self._file, self._files, self._keys, self._covered = file, files, keys, covered

    def findings(self) -> Iterator[Finding]:
        self._covered.add(self._file.name)
        record = self._file.record
        try:
            evidence = Evidence.model_validate(record)
        except ValidationError as error:
            field_name = ".".join(map(str, error.errors()[0]["loc"]))
            yield self._fails("record-malformed", f"The record is damaged or altered: its {field_name!r} is not valid.")
            return
        assert record is not None
        yield from self._check_signature(record, evidence)
        for sent in evidence.inputs:
            yield self._check_input(sent)
        if not evidence.inputs or not evidence.results:
            yield self._fails(
                "record-incomplete", "The record has no digests of all inputs and results, so it shows little."
            )
        for result in evidence.results:
            yield from self._check_result(result)
        yield from _remarks(evidence, self._file.name)

    def _check_signature(self, record: Mapping[str, Any], evidence: Evidence) -> Iterator[Finding]:
        if evidence.signature is None:
            yield self._check_unsigned(evidence)
            return
        try:
            content, key = signed_bytes(record), key_id(evidence.signature)
            trusted = (self._keys or {}).get(key or "")
            if trusted is None:
                yield self._unknown_key(key)
                return
            trusted.verify(evidence.signature, content)
        except SignatureError as error:
            detail = f"The record was altered after it was signed, or its {SIGNATURE} is forged: {error}."
            yield self._fails("record-altered", detail)
        except ValueError as error:
            yield self._fails("record-altered", f"The record has values that no service writes: {error}.")
        else:
            if key != evidence.signing_key:
                yield self._fails("record-altered", "The record names another key than its signature does.")
            else:
                yield self._holds("signature-valid", f"The record is as it was signed with the trusted key {key}.")

    def _unknown_key(self, key: str | None) -> Finding:
        if self._keys is None:
            detail = (
                "The record is signed, but no public keys were given; get them from its fleet and name them (--keys)."
            )
            return self._fails("signature-unchecked", detail)
        return self._fails("signature-unknown-key", f"The record is signed with the key {key}, which is not trusted.")

    def _check_unsigned(self, evidence: Evidence) -> Finding:
        if evidence.signing_key is not None:
            return self._fails("signature-removed", "The record says that it is signed, but its signature is missing.")
        detail = "The record is not signed: it shows which files belong together, not who wrote it."
        return self._fails("signature-absent", detail) if self._keys else self._note("signature-absent", detail)

    def _check_input(self, sent: InputDigest) -> Finding:
        found = self._find(sent.sha256, sent.size_bytes)
        kind = "original" if sent.field == "image" else sent.field
        if found is None:
            detail = f"The {kind} that was sent as {sent.field!r} is missing or altered (SHA-256 {sent.sha256})."
            return self._fails(f"{kind}-missing", detail)
        detail = f"This is, byte for byte, the {kind} that was sent as {sent.field!r}."
        return Finding(Status.HOLDS, f"{kind}-matches", detail, found.name)

    def _check_result(self, result: ResultDigest) -> Iterator[Finding]:
        what = f"result {result.name!r}" if result.name else f"result ({result.media_type})"
        found = self._find_json(result) if result.form is DigestForm.JSON else self._find_result(result)
        if found is None:
            yield self._fails("result-missing", f"The {what} is missing or altered (SHA-256 {result.sha256}).")
            return
        yield Finding(Status.HOLDS, "result-matches", f"This is the {what}, as the service returned it.", found.name)
        yield from _check_credentials(found, result)

    def _find(self, sha256: str, size_bytes: int) -> BundleFile | None:
        return self._cover(each for each in self._files if (each.sha256, each.size_bytes) == (sha256, size_bytes))

    def _find_result(self, result: ResultDigest) -> BundleFile | None:
        """Finds a file by its digest; one that came in an archive must bear its name there."""
        found = (
            each
            for each in self._files
            if (each.sha256, each.size_bytes) == (result.sha256, result.size_bytes)
            and (result.name is None or each.name.rpartition("/")[2] == result.name)
        )
        return self._cover(found)

    def _find_json(self, result: ResultDigest) -> BundleFile | None:
        return self._cover(
            each for each in self._files if each.reply is not None and _digest_without_evidence(each) == result.sha256
        )

    def _cover(self, found: Iterator[BundleFile]) -> BundleFile | None:
        """Returns the first file, if there is one; all of them are covered, as copies are equal."""
        each_found = list(found)
        self._covered.update(each.name for each in each_found)
        return each_found[0] if each_found else None

    def _holds(self, code: str, detail: str) -> Finding:
        return Finding(Status.HOLDS, code, detail, self._file.name)

    def _fails(self, code: str, detail: str) -> Finding:
        return Finding(Status.FAILS, code, detail, self._file.name)

    def _note(self, code: str, detail: str) -> Finding:
        return Finding(Status.NOTE, code, detail, self._file.name)


def _digest_without_evidence(file: BundleFile) -> str | None:
    assert file.reply is not None
    try:
        return hashlib.sha256(without_evidence(file.reply)).hexdigest()
    except ValueError:
        return None


def _check_credentials(file: BundleFile, result: ResultDigest) -> Iterator[Finding]:
    """Checks the content credentials that a result carries, or should."""
    unread = file.content is None  # too large
    state = CredentialState.UNREADABLE if unread else read_credentials(file.content or b"", result.media_type)
    match state:
        case CredentialState.VALID:
            detail = "Its content credentials are intact, but no public authority vouches for their certificate."
            yield Finding(Status.HOLDS, "credentials-valid", detail, file.name)
        case CredentialState.TRUSTED:
            detail = "Its content credentials are intact, by a trusted certificate."
            yield Finding(Status.HOLDS, "credentials-trusted", detail, file.name)
        case CredentialState.INVALID:
            yield Finding(Status.FAILS, "credentials-invalid", "Its content credentials do not hold.", file.name)
        case CredentialState.ABSENT if result.uncredentialed_sha256:
            detail = "The record says that it carries content credentials, but it does not."
            yield Finding(Status.FAILS, "credentials-missing", detail, file.name)
        case CredentialState.UNREADABLE if result.uncredentialed_sha256:
            detail = "Its content credentials were not checked, because they cannot be read here."
            yield Finding(Status.NOTE, "credentials-unchecked", detail, file.name)


def _remarks(evidence: Evidence, name: str) -> Iterator[Finding]:
    if evidence.synthesised_share:
        detail = f"{evidence.synthesised_share:.1%} of the picture's pixels are made up by the model."
        yield Finding(Status.NOTE, "synthesised", detail, name)
    if not evidence.deterministic:
        detail = "The service was not in deterministic mode: the same request may give slightly different bytes."
        yield Finding(Status.NOTE, "not-deterministic", detail, name)


def _uncovered(files: Sequence[BundleFile], covered: set[str]) -> Iterator[Finding]:
    """Yields a finding for each file that no record covers; an archive is covered with the files in it."""
    for file in files:
        members = [each.name for each in files if each.container == file.name]
        if file.name not in covered and not (members and covered.issuperset(members)):
            detail = "No record mentions this file: it is foreign, or was altered."
            yield Finding(Status.FAILS, "file-not-covered", detail, file.name)
