"""The material service, for `uvicorn --factory services.svbrdf.app:create`."""

from services.svbrdf.predictor import SvbrdfPredictor
from sightline.serving.app import app_factory

create = app_factory(SvbrdfPredictor)
