"""The screening service, for `uvicorn --factory services.hra_screening.app:create`."""

from services.hra_screening.predictor import ScreeningPredictor
from sightline.serving.app import app_factory

create = app_factory(ScreeningPredictor)
