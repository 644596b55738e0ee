"""The inference pipeline as one plan: read the upload, predict, render the result with its evidence record."""

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from sightline import __version__
from sightline.api import headers as names
from sightline.api.evidence import Evidence, InputDigest, ModelIdentity, Network
from sightline.api.problems import Code, Problem
from sightline.evidence.canonical_json import record_parameters
from sightline.imaging.private_metadata import find_private_metadata
from sightline.inference.engine import Session
from sightline.inference.predictor import AnyPredictor, Plan, Rendered, Upload
from sightline.inference.providers import EXECUTION_PROVIDERS
from sightline.inference.seal import Seal
from sightline.inference.settings import Provider
from sightline.inference.stages import Stage, Stages

Render = Callable[[str], Rendered]
"""Renders a result in a media type."""

RECORDED_LIBRARIES = (
    "imagecodecs",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "pillow-heif",
    "simplejpeg",
)
UNSIGNED = Seal()


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
    predictor: AnyPredictor,
    request: InferenceRequest,
    session: Session,
    identity: ModelIdentity,
    seal: Seal = UNSIGNED,
) -> Plan[Rendered]:
    """Returns the result in the requested media type."""
    render = yield from _predict(predictor, request, session, identity, seal)
    return render(request.media_type)


def respond_in_all_types(
    predictor: AnyPredictor,
    request: InferenceRequest,
    session: Session,
    identity: ModelIdentity,
    *,
    others: Sequence[str],
    stages: Stages,
    seal: Seal = UNSIGNED,
) -> Plan[tuple[Rendered, ...]]:
    """Returns the result in the requested media type first, then in each of `others` that it has."""
    render = yield from _predict(predictor, request, session, identity, seal)
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
    predictor: AnyPredictor, request: InferenceRequest, session: Session, identity: ModelIdentity, seal: Seal
) -> Plan[Render]:
    """Returns a function that renders the result in any media type, with its evidence record."""
    inputs = _inputs(request.upload)
    result = yield from predictor.predict(predictor.read(request.upload))
    notes, digest = predictor.notes(result), inputs[0].sha256
    private = find_private_metadata(request.upload.files[0])
    share = predictor.synthesised_share(result)
    evidence = Evidence(
        request_id=request.request_id,
        input_sha256=digest,
        inputs=inputs,
        synthesised_share=None if share is None else round(share, 6),
        model=identity,
        networks=[Network(file=file, sha256=sha256) for file, sha256 in predictor.weights.digests.items()],
        parameters=record_parameters(request.upload.options.model_dump(mode="json")),
        provider=session.provider,
        precision=session.precision,
        # Only the CPU's bytes are compared by tests.
        deterministic=seal.deterministic and session.provider == EXECUTION_PROVIDERS[Provider.CPU],
        processor=processor(),
        libraries=dict(libraries()),
        gps_removed=private.gps,
        serial_numbers_removed=private.serial_numbers,
        received_at=request.received_at,
        finished_at=_now(),
        notes=list(notes),
    )
    common = {names.MODEL: str(identity), names.INPUT_SHA256: digest}
    if evidence.synthesised_share is not None:
        common[names.SYNTHESISED_SHARE] = f"{evidence.synthesised_share:.6f}"

    def render(media_type: str) -> Rendered:
        rendered = predictor.render(result, media_type, evidence)
        remarks = ", ".join([*notes, *rendered.notes])
        noted = {names.NOTES: remarks} if remarks else {}
        headed = replace(rendered, headers={**rendered.headers, **noted, **common}, notes=())
        return seal.complete(headed, evidence, request.upload.files[0])

    return render


@cache
def processor() -> str:
    """Returns the machine type and the instruction sets by which libraries choose their kernels."""
    known = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join([platform.machine(), *known["baseline"], *known["found"]])


@cache
def libraries() -> dict[str, str]:
    """Returns the versions of the libraries that affect results."""
    return {"sightline": __version__, **{name: found for name in RECORDED_LIBRARIES if (found := _version(name))}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _inputs(upload: Upload[Any]) -> list[InputDigest]:
    """Returns the digests of all pictures and masks, in the order in which they were sent."""
    return [
        InputDigest(field=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        for name, sent in upload.pictures.items()
        for data in sent
    ]
