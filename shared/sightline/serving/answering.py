"""A whole request as one plan: read the upload, predict, render with the record of what happened."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sightline import __version__
from sightline.api import headers as names
from sightline.api.evidence import Evidence, ModelIdentity
from sightline.serving.engine import Session
from sightline.serving.predictor import Plan, Predictor, Rendered, Upload

RECORDED_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asked for."""

    upload: Upload
    media_type: str
    request_id: str
    received_at: datetime = field(default_factory=_now)


def answer(
    predictor: Predictor[Any, Any], question: Question, session: Session, identity: ModelIdentity
) -> Plan[Rendered]:
    digest = _first_digest(question.upload)
    result = yield from predictor.predict(predictor.read(question.upload))
    evidence = Evidence(
        request_id=question.request_id,
        input_sha256=digest,
        model=identity,
        parameters=question.upload.options.model_dump(mode="json"),
        provider=session.provider,
        precision=session.precision,
        libraries=dict(libraries()),
        received_at=question.received_at,
        finished_at=_now(),
    )
    rendered = predictor.render(result, question.media_type, evidence)
    headers = {**rendered.headers, names.MODEL: str(identity), names.INPUT_SHA256: digest}
    return Rendered(rendered.body, rendered.media_type, headers)


@cache
def libraries() -> dict[str, str]:
    """Versions of what shapes a result."""
    return {"sightline": __version__, **{name: found for name in RECORDED_LIBRARIES if (found := _version(name))}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _first_digest(upload: Upload) -> str:
    """SHA-256 of the first picture that was sent."""
    first = next(data for sent in upload.pictures.values() for data in sent)
    return hashlib.sha256(first).hexdigest()
