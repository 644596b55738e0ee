"""Representations of a result: the corrected photo, the scene, the JSON record, and a ZIP of all."""

from collections.abc import Callable, Mapping

import numpy as np

from services.hdr_correct.correction import HdrResult
from services.hdr_correct.scene import HdrScene
from services.hdr_correct.schemas import HdrRecord, Output
from sightline.api.evidence import Alteration, Evidence
from sightline.api.media_types import JPEG, JSON, OPENEXR, PNG, RADIANCE, WEBP, ZIP
from sightline.api.problems import Code, Problem
from sightline.imaging.bit_depth import quantize
from sightline.imaging.encoder import encode, encoding_notes
from sightline.imaging.hdr_encoder import MAX_HALF, encode_openexr, encode_radiance
from sightline.inference.predictor import Rendered

WHITE_COMMENT = "1.0 is the white of a well-exposed photo."


def render(result: HdrResult, media_type: str, evidence: Evidence) -> Rendered:
    """The result in the media type."""
    if media_type == ZIP:
        files = {name: _file(result, each, evidence) for name, each in ARCHIVED.items()}
        return Rendered.archive({**files, "map.png": encode_map(result, PNG)})
    return _file(result, media_type, evidence)


def _file(result: HdrResult, media_type: str, evidence: Evidence) -> Rendered:
    if media_type in PHOTOS and result.request.options.output is Output.MAP:
        return encode_map(result, media_type)
    body = _ENCODERS[media_type](result, media_type, evidence)
    is_altered = media_type in PHOTOS and (result.applied > 0 or result.lift_stops > 0)
    alteration = Alteration.EXPOSURE_CORRECTED if is_altered else None
    return Rendered(body, media_type, notes=encoding_notes(result.pixels, media_type), alteration=alteration)


def encode_map(result: HdrResult, media_type: str) -> Rendered:
    """The map of synthesised pixels, 255 = synthesised, in the stored frame of the photo."""
    if media_type == JPEG:
        raise Problem(
            Code.NOT_ACCEPTABLE, "The map of synthesised pixels is not available as JPEG.", offered=[PNG, WEBP]
        )
    pixels = np.repeat(result.synthesised[..., None], 3, axis=2)
    like = result.request.picture.with_srgb_pixels(pixels, grey=True)
    return Rendered(encode(pixels, media_type, like, lossless=True), media_type)


def describe(result: HdrResult, evidence: Evidence) -> HdrRecord:
    """The JSON record."""
    picture = result.request.picture
    return HdrRecord(
        width=picture.width,
        height=picture.height,
        applied_share=result.applied,
        shadow_lift_stops=round(result.lift_stops, 3),
        exposure=result.exposure,
        synthesised_share=round(result.synthesised_share, 6),
        scene_white=1.0,
        scene_stops=result.scene_stops,
        evidence=evidence,
    )


def _photo(result: HdrResult, media_type: str, _: Evidence) -> bytes:
    picture = result.request.picture
    alpha = None if picture.alpha is None else quantize(picture.alpha, result.pixels.dtype)
    return encode(result.pixels, media_type, picture, alpha=alpha)


def _radiance(result: HdrResult, _: str, __: Evidence) -> bytes:
    return radiance_file(result.scene)


def radiance_file(scene: HdrScene) -> bytes:
    """The scene as a Radiance file (.hdr)."""
    bands = (light for _, light in scene.bands())
    return encode_radiance(bands, WHITE_COMMENT, width=scene.width, height=scene.height)


def _openexr(result: HdrResult, _: str, __: Evidence) -> bytes:
    return openexr_file(result.scene)


def openexr_file(scene: HdrScene) -> bytes:
    """The scene as an OpenEXR file of half floats."""
    light = np.empty((scene.height, scene.width, 3), np.float16)
    for rows, values in scene.bands():
        light[rows] = np.minimum(values, MAX_HALF)  # brighter values would become infinite
    return encode_openexr({"RGB": light}, f"Linear light; {WHITE_COMMENT}", is_srgb=True)


def _record(result: HdrResult, _: str, evidence: Evidence) -> bytes:
    return describe(result, evidence).model_dump_json().encode()


PHOTOS = frozenset((PNG, JPEG, WEBP))
ARCHIVED: Mapping[str, str] = {"corrected.png": PNG, "scene.exr": OPENEXR, "scene.hdr": RADIANCE, "record.json": JSON}
_ENCODERS: Mapping[str, Callable[[HdrResult, str, Evidence], bytes]] = {
    PNG: _photo,
    JPEG: _photo,
    WEBP: _photo,
    RADIANCE: _radiance,
    OPENEXR: _openexr,
    JSON: _record,
}
