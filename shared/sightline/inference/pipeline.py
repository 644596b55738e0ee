"""The inference pipeline as one plan: read the upload, predict, render the result with its evidence record."""

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

Render = Callable[[str], Rendered]
"""Renders a result in a media type."""

RECORDED_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """An upload with the requested media type, the request's id and its time."""

    upload: Upload[Any]
    media_type: str
    request_id: str
    received_at: datetime = field(default_factory=_now)


def respond(
    predictor: AnyPredictor, request: InferenceRequest, session: Session, identity: ModelIdentity
) -> Plan[Rendered]:
    """Returns the result in the requested media type."""
    render = yield from _predict(predictor, request, session, identity)
    return render(request.media_type)


def respond_in_all_types(
    predictor: AnyPredictor,
    request: InferenceRequest,
    session: Session,
    identity: ModelIdentity,
    *,
    others: Sequence[str],
    stages: Stages,
) -> Plan[tuple[Rendered, ...]]:
    """Returns the result in the requested media type first, then in each of `others` that it has."""
    render = yield from _predict(predictor, request, session, identity)
    stages.current = Stage.ENCODE
    first = render(request.media_type)
    renderings = {first.media_type: first}
    for media_type in others:
        if media_type not in renderings and (rendered := _render_if_possible(render, media_type)):
            renderings.setdefault(rendered.media_type, rendered)
    return tuple(renderings.values())


def _render_if_possible(render: Render, media_type: str) -> Rendered | None:
    try:
        return render(media_type)
    except Problem as problem:
        if problem.code is not Code.NOT_ACCEPTABLE:
            raise
        return None


def _predict(
    predictor: AnyPredictor, request: InferenceRequest, session: Session, identity: ModelIdentity
) -> Plan[Render]:
    """Returns a function that renders the result in any media type, with its evidence record."""
    digest = _first_digest(request.upload)
    result = yield from predictor.predict(predictor.read(request.upload))
    notes = predictor.notes(result)
    evidence = Evidence(
        request_id=request.request_id,
        input_sha256=digest,
        model=identity,
        parameters=request.upload.options.model_dump(mode="json"),
        provider=session.provider,
        precision=session.precision,
        libraries=dict(libraries()),
        received_at=request.received_at,
        finished_at=_now(),
        notes=list(notes),
    )
    common = {names.MODEL: str(identity), names.INPUT_SHA256: digest}

    def render(media_type: str) -> Rendered:
        rendered = predictor.render(result, media_type, evidence)
        remarks = ", ".join([*notes, *rendered.notes])
        noted = {names.NOTES: remarks} if remarks else {}
        return Rendered(rendered.body, rendered.media_type, {**rendered.headers, **noted, **common})

    return render


@cache
def libraries() -> dict[str, str]:
    """Returns the versions of the libraries that affect results."""
    return {"sightline": __version__, **{name: found for name in RECORDED_LIBRARIES if (found := _version(name))}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _first_digest(upload: Upload[Any]) -> str:
    """Returns the SHA-256 of the first picture that was sent."""
    first = next(data for sent in upload.pictures.values() for data in sent)
    return hashlib.sha256(first).hexdigest()
