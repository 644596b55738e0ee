"""The interaction service, for `uvicorn --factory services.hoi.app:create`."""

from services.hoi.predictor import HoiPredictor
from sightline.serving.app import app_factory

create = app_factory(HoiPredictor)
