"""The exposure correction service, for `uvicorn --factory services.hdr_correct.app:create`."""

from fastapi import FastAPI

from services.hdr_correct import predictor
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings


def create() -> FastAPI:
    settings = ServiceSettings()
    return create_app(predictor.create(settings), settings)
