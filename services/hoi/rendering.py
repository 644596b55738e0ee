"""A result as record, as overlay or as graph."""

from services.hoi.record import describe
from services.hoi.result import HoiResult
from sightline.api.evidence import Evidence
from sightline.imaging.limits import PixelLimits
from sightline.serving.predictor import Rendered

JSON = "application/json"
MEDIA_TYPES = (JSON,)


def render(result: HoiResult, media_type: str, evidence: Evidence, limits: PixelLimits) -> Rendered:
    return Rendered(describe(result, evidence).model_dump_json().encode(), JSON)
