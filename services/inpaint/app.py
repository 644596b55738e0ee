"""The inpainting service, for `uvicorn --factory services.inpaint.app:create`."""

from services.inpaint.predictor import InpaintPredictor
from sightline.serving.app import app_factory

create = app_factory(InpaintPredictor)
