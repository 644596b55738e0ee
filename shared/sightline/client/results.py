"""Results of the five models, and the state of jobs."""

import base64
import io
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from sightline.api import headers
from sightline.api.media_types import BY_SUFFIX, JSON
from sightline.client.errors import NotSightline
from sightline.client.pictures import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_RECORD_BYTES = 1 << 20
FINAL_STATES = frozenset(("succeeded", "failed", "dead", "cancelled"))
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the photo as it is displayed."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply: status, header fields by name in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The media type in lower case without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def json(self) -> Any:
        """Returns the body as JSON; raises NotSightline if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise NotSightline(
                f"the reply is not Sightline's: it is not JSON but {self.media_type or 'untyped'}", status=self.status
            ) from None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts about the run that produced a result.

    model: name, version and the first 12 digits of the weights' SHA-256; record: the server's full evidence record;
    None only from servers that send none, or where it is too long for a header.
    """

    request_id: str | None
    model: str | None
    input_sha256: str | None
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None

    @property
    def is_signed(self) -> bool:
        """True if the record carries a signature; `sightline evidence verify` checks it."""
        return bool(self._get("signature"))

    @property
    def is_deterministic(self) -> bool:
        """True if the server gives the same bytes for the same request again."""
        return bool(self._get("deterministic"))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The options as applied, with defaults."""
        return _mapping(self._get("parameters") or {})

    @property
    def result_sha256(self) -> tuple[str, ...]:
        """SHA-256 of each file of the reply."""
        return tuple(str(each["sha256"]) for each in self._get("results") or ())

    @property
    def gps_removed(self) -> bool | None:
        """True if the picture carried a position, which no result repeats; None if the server does not say."""
        removed = self._get("gps_removed")
        return None if removed is None else bool(removed)

    def save(self, path: "str | os.PathLike[str]") -> Path:
        """Writes the record as JSON, to lie beside the result; raises ValueError without a record."""
        if self.record is None:
            raise ValueError("the reply carries no evidence record")
        target = Path(path)
        target.write_text(json.dumps(self.record, indent=2, ensure_ascii=False), encoding="utf-8")
        return target

    def _get(self, name: str) -> Any:
        return (self.record or {}).get(name)


@dataclass(frozen=True)
class FileResult:
    """A reply that is a picture or another file."""

    file: Picture
    evidence: Evidence

    @property
    def media_type(self) -> str:
        return self.file.media_type

    @property
    def data(self) -> bytes:
        """The bytes as they came."""
        return self.file.data

    @property
    def image(self) -> "Image":
        """The decoded picture; needs Pillow."""
        return self.file.image

    @property
    def array(self) -> "NDArray[np.uint8 | np.uint16]":
        """The samples, of shape (h, w) or (h, w, channels); needs NumPy and Pillow."""
        return self.file.array

    def save(self, path: "str | os.PathLike[str]") -> Path:
        """Writes the bytes as they came; raises ValueError if the suffix belongs to another type."""
        return self.file.save(path)

    @cached_property
    def files(self) -> Mapping[str, Picture]:
        """The files of an archive by name; raises NotSightline if the reply is none."""
        return {name: Picture(data, _media_type_of(name)) for name, data in self._files.items()}

    @cached_property
    def _files(self) -> Mapping[str, bytes]:
        try:
            with ZipFile(io.BytesIO(self.data)) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        except BadZipFile:
            raise NotSightline("the reply is not the archive that it says it is") from None


@dataclass(frozen=True)
class AlteredPhoto(FileResult):
    """A photo that a model altered, its map of synthesised pixels, or an archive of both."""

    synthesised_share: float | None = None

    @property
    def map(self) -> Picture:
        """The map, with 255 for pixels that the model made up; needs the option `format="zip"`."""
        return self.files["map.png"]


@dataclass(frozen=True)
class InpaintResult(AlteredPhoto):
    """The filled photo, or the map of its synthesised pixels. The pixels in the holes are invented."""


@dataclass(frozen=True)
class HdrResult(AlteredPhoto):
    """The corrected photo, the map of its synthesised pixels, or the estimated scene as Radiance or OpenEXR file."""


@dataclass(frozen=True)
class MaterialResult(FileResult):
    """The maps of a surface as a ZIP archive, and its record."""

    @cached_property
    def maps(self) -> Mapping[str, Picture]:
        """The maps by name, such as `normal` and `roughness`."""
        return {
            Path(name).stem: Picture(data, _media_type_of(name))
            for name, data in self._files.items()
            if _media_type_of(name).startswith("image/")
        }

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The JSON record: material type and probabilities, mean roughness, error of the re-rendered photo."""
        return _mapping(json.loads(self._files["record.json"]))

    @property
    def type(self) -> str:
        """The most likely material type."""
        return str(self.record["material"]["type"])

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Probabilities of the material types."""
        return _mapping(self.record["material"]["probabilities"])


@dataclass(frozen=True, slots=True)
class Screening:
    """Screening of one picture. A score is a hint about where to look first, never evidence of an abuse.

    decision: a class or `abstain`; probabilities: by class, of sum 1; record: the whole JSON reply.
    """

    decision: str
    most_likely: str
    probabilities: Mapping[str, float]
    violation_probability: float
    threshold: float
    needs_review: bool
    sha256: str
    perceptual_hash: str
    record: Mapping[str, Any]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Detection:
    """A person or an object."""

    id: int
    label: str
    score: float
    box_xyxy: Box


@dataclass(frozen=True, slots=True)
class Interaction:
    """An action of a person. A score is a hint about where to look, never evidence of what someone did.

    object: None where no detection fits, and for actions without object; object_status: `found`, `uncertain` or
    `not_found`; factors: whose product is the score.
    """

    person: Detection
    action: str
    role: str | None
    object: Detection | None
    object_status: str | None
    score: float
    factors: Mapping[str, float | None]
    target: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class InteractionResult:
    """People, objects and interactions, each by falling score."""

    detections: tuple[Detection, ...]
    interactions: tuple[Interaction, ...]
    record: Mapping[str, Any]
    evidence: Evidence

    @property
    def people(self) -> tuple[Detection, ...]:
        return tuple(each for each in self.detections if each.label == "person")


@dataclass(frozen=True, slots=True)
class JobStatus:
    """State of a job: `queued`, `running`, `retrying`, `succeeded`, `failed`, `dead` or `cancelled`.

    position: in its queue, 1 is next; share: of the work that is done, 0 to 1; problem: of the last failed attempt.
    """

    id: str
    state: str
    position: int | None = None
    eta_s: float | None = None
    stage: str | None = None
    share: float | None = None
    problem: Mapping[str, Any] | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    def __str__(self) -> str:
        stage = f" ({self.stage}{'' if self.share is None else f', {self.share:.0%}'})" if self.stage else ""
        position = "" if self.position is None else f", position {self.position} in the queue"
        eta = "" if self.eta_s is None else f", about {max(0.0, self.eta_s):.0f} s left"
        return f"Job {self.id}: {self.state}{stage}{position}{eta}"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a job: `name` is its new state or `progress`."""

    id: str
    name: str
    data: Mapping[str, Any]


def evidence_of(reply: HttpReply, record: Mapping[str, Any] | None = None) -> Evidence:
    notes = tuple(note.strip() for note in (reply.header(headers.NOTES) or "").split(",") if note.strip())
    if record is None:
        record = _record_of(reply.header(headers.EVIDENCE))
    return Evidence(
        reply.header(headers.REQUEST_ID), reply.header(headers.MODEL), reply.header(headers.INPUT_SHA256), notes, record
    )


def _record_of(header: str | None) -> Mapping[str, Any] | None:
    """Returns the record of a header: base64url of JSON that is compressed by zlib."""
    if header is None:
        return None
    try:
        text = zlib.decompressobj().decompress(base64.urlsafe_b64decode(header), MAX_RECORD_BYTES)
        return _mapping(json.loads(text))
    except (ValueError, zlib.error):
        raise NotSightline("the evidence record of the reply cannot be read") from None


def parse_file(reply: HttpReply) -> FileResult:
    record = reply.json().get("evidence") if reply.media_type == JSON else None
    return FileResult(Picture(reply.body, reply.media_type), evidence_of(reply, record))


def parse_inpaint(reply: HttpReply) -> InpaintResult:
    share = reply.header(headers.SYNTHESISED_SHARE)
    return InpaintResult(
        Picture(reply.body, reply.media_type), evidence_of(reply), None if share is None else float(share)
    )


def parse_hdr(reply: HttpReply) -> HdrResult:
    share = reply.header(headers.SYNTHESISED_SHARE)
    return HdrResult(Picture(reply.body, reply.media_type), evidence_of(reply), None if share is None else float(share))


def parse_material(reply: HttpReply) -> MaterialResult:
    result = MaterialResult(Picture(reply.body, reply.media_type), evidence_of(reply))
    return MaterialResult(result.file, evidence_of(reply, result.record["evidence"]))


def parse_screening(reply: HttpReply) -> Screening:
    record = reply.json()
    try:
        (each,) = record["results"]
        return Screening(
            decision=each["decision"],
            most_likely=each["most_likely"],
            probabilities=each["probabilities"],
            violation_probability=each["violation_probability"],
            threshold=each["threshold"],
            needs_review=each["needs_review"],
            sha256=each["sha256"],
            perceptual_hash=each["perceptual_hash"],
            record=record,
            evidence=evidence_of(reply, record["evidence"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotSightline(f"the reply is not Sightline's: not a screening, {error!r}", status=reply.status) from None


def parse_interactions(reply: HttpReply) -> InteractionResult:
    record = reply.json()
    try:
        detections = tuple(
            Detection(each["id"], each["label"], each["score"], tuple(each["box_xyxy"]))
            for each in record["detections"]
        )
        by_id = {each.id: each for each in detections}
        interactions = tuple(_interaction(each, by_id) for each in record["interactions"])
        return InteractionResult(detections, interactions, record, evidence_of(reply, record["evidence"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NotSightline(f"the reply is not Sightline's: not interactions, {error!r}", status=reply.status) from None


def parse_job(reply: HttpReply) -> JobStatus:
    job = reply.json()
    try:
        progress = job.get("progress") or {}
        return JobStatus(
            str(job["id"]),
            str(job["state"]),
            job.get("position"),
            job.get("eta_s"),
            progress.get("stage"),
            progress.get("share"),
            job.get("problem"),
        )
    except (KeyError, TypeError, AttributeError):
        raise NotSightline("the reply is not Sightline's: it is not a job", status=reply.status) from None


def _interaction(each: Mapping[str, Any], detections: Mapping[int, Detection]) -> Interaction:
    return Interaction(
        detections[each["person"]],
        each["action"],
        each["role"],
        None if each["object"] is None else detections[each["object"]],
        each["object_status"],
        each["score"],
        each["factors"],
        each["target"],
    )


def _media_type_of(name: str) -> str:
    return BY_SUFFIX.get(Path(name).suffix.lower(), "application/octet-stream")


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotSightline("the record of the reply is not a JSON object")
    return value
