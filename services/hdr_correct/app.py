"""The exposure correction service, for `uvicorn --factory services.hdr_correct.app:create`."""

from services.hdr_correct.predictor import HdrPredictor
from sightline.serving.app import app_factory

create = app_factory(HdrPredictor)
