"""Representations of a result: the JSON record, graphs, and an overlay on the photo."""

from collections.abc import Callable, Mapping

from services.hoi import overlay
from services.hoi.graphml import graphml
from services.hoi.linked_data import linked_data
from services.hoi.results import HoiResult, describe, report
from services.hoi.schemas import Frame, HoiRecord
from sightline.api.evidence import Evidence
from sightline.api.media_types import GRAPHML, JSON, JSON_LD
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.imaging.encoder import encode
from sightline.imaging.limits import PixelLimits
from sightline.inference.predictor import Rendered


def render(result: HoiResult, media_type: str, evidence: Evidence, limits: PixelLimits) -> Rendered:
    """The result in the media type."""
    if media_type in _WRITERS:
        return Rendered(_WRITERS[media_type](describe(result, evidence)), media_type)
    return Rendered(_overlay(result, media_type, limits), media_type)


def _record(record: HoiRecord) -> bytes:
    return record.model_dump_json().encode()


def _overlay(result: HoiResult, media_type: str, limits: PixelLimits) -> bytes:
    picture = decode(result.request.data, limits)
    pixels = overlay.draw(to_srgb(picture), report(result, Frame.DISPLAYED))
    return encode(pixels, media_type, picture.with_srgb_pixels(pixels))


_WRITERS: Mapping[str, Callable[[HoiRecord], bytes]] = {JSON: _record, JSON_LD: linked_data, GRAPHML: graphml}
