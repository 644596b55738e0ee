"""Canonical JSON (RFC 8785) of evidence records and JSON replies, and the form of a record in a header."""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from sightline.api.evidence import Evidence

EVIDENCE, SIGNATURE = "evidence", "signature"
MAX_PARAMETER_CHARACTERS = 1000
"""Longer options, such as polygons, are recorded by their digest, so that a record fits into a header."""
MAX_HEADER_CHARACTERS = 6144
"""Servers and proxies refuse longer headers: 8 KiB is a common limit for all of them together."""
MAX_RECORD_BYTES = 1 << 20
MAX_EXACT_INTEGER = 2**53 - 1


def canonical_bytes(value: Any) -> bytes:
    """Returns the canonical form; raises ValueError for NaN, infinities, integers from 2^53, and other types."""
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def without_evidence(reply: Mapping[str, Any]) -> bytes:
    """Returns the bytes that the digest of a JSON reply is of: the canonical form without its member `evidence`."""
    return canonical_bytes({name: value for name, value in reply.items() if name != EVIDENCE})


def signed_bytes(record: Mapping[str, Any]) -> bytes:
    """Returns the bytes that the signature of a record is of."""
    return canonical_bytes({name: value for name, value in record.items() if name != SIGNATURE})


def record_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options as a record holds them: numbers that JSON has not as text, long values by their digest."""
    return {name: _shorten(_representable(value)) for name, value in options.items()}


def _representable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _representable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_representable(each) for each in value]
    is_beyond = isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_beyond or is_infinite else value


def _shorten(value: Any) -> Any:
    text = canonical_bytes(value)
    if len(text) <= MAX_PARAMETER_CHARACTERS:
        return value
    return {"sha256": hashlib.sha256(text).hexdigest(), "size_bytes": len(text)}


def to_header(evidence: Evidence) -> str | None:
    """Returns a record for the header: its canonical JSON, compressed by zlib, in base64url; None if it is too long."""
    text = base64.urlsafe_b64encode(zlib.compress(canonical_bytes(evidence.model_dump(mode="json")), 9)).decode()
    return text if len(text) <= MAX_HEADER_CHARACTERS else None


def from_header(text: str) -> dict[str, Any]:
    """Returns the record of a header; raises ValueError where it is none."""
    try:
        unpacked = zlib.decompressobj().decompress(base64.urlsafe_b64decode(text), MAX_RECORD_BYTES)
        record = json.loads(unpacked)
    except zlib.error as error:
        raise ValueError(f"the header is not compressed by zlib: {error}") from error
    if not isinstance(record, dict):
        raise ValueError("the header holds no JSON object")
    return record
