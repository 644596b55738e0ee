"""A whole request as one plan: read the upload, predict, render with the record of what happened."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sightline import __version__
from sightline.api import headers as names
from sightline.api.evidence import Evidence, ModelIdentity
from sightline.api.problems import Code, Problem
from sightline.inference.engine import Session
from sightline.inference.predictor import AnyPredictor, Plan, Rendered, Upload
from sightline.inference.stages import Stage, Stages

Draw = Callable[[str], Rendered]
"""A result in the media type asked for."""

RECORDED_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a request asked for."""

    upload: Upload[Any]
    media_type: str
    request_id: str
    received_at: datetime = field(default_factory=_now)


def respond(
    predictor: AnyPredictor, question: InferenceRequest, session: Session, identity: ModelIdentity
) -> Plan[Rendered]:
    draw = yield from _draw(predictor, question, session, identity)
    return draw(question.media_type)


def respond_in_all_types(
    predictor: AnyPredictor,
    question: InferenceRequest,
    session: Session,
    identity: ModelIdentity,
    *,
    others: Sequence[str],
    stages: Stages,
) -> Plan[tuple[Rendered, ...]]:
    """Renders the result in the requested media type first, then in each of `others` that the result has."""
    draw = yield from _draw(predictor, question, session, identity)
    stages.current = Stage.ENCODE
    first = draw(question.media_type)
    forms = {first.media_type: first}
    for media_type in others:
        if media_type not in forms and (form := _draw_if_possible(draw, media_type)):
            forms.setdefault(form.media_type, form)
    return tuple(forms.values())


def _draw_if_possible(draw: Draw, media_type: str) -> Rendered | None:
    try:
        return draw(media_type)
    except Problem as problem:
        if problem.code is not Code.NOT_ACCEPTABLE:
            raise
        return None


def _draw(predictor: AnyPredictor, question: InferenceRequest, session: Session, identity: ModelIdentity) -> Plan[Draw]:
    """What draws the result in any media type, with the record of what happened."""
    digest = _first_digest(question.upload)
    result = yield from predictor.predict(predictor.read(question.upload))
    notes = predictor.notes(result)
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
        notes=list(notes),
    )
    common = {names.MODEL: str(identity), names.INPUT_SHA256: digest}

    def draw(media_type: str) -> Rendered:
        rendered = predictor.render(result, media_type, evidence)
        remarks = ", ".join([*notes, *rendered.notes])
        noted = {names.NOTES: remarks} if remarks else {}
        return Rendered(rendered.body, rendered.media_type, {**rendered.headers, **noted, **common})

    return draw


@cache
def libraries() -> dict[str, str]:
    """Versions of what shapes a result."""
    return {"sightline": __version__, **{name: found for name in RECORDED_LIBRARIES if (found := _version(name))}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _first_digest(upload: Upload[Any]) -> str:
    """SHA-256 of the first picture that was sent."""
    first = next(data for sent in upload.pictures.values() for data in sent)
    return hashlib.sha256(first).hexdigest()
