"""The screening service, for `uvicorn --factory services.hra_screening.app:create`."""

from fastapi import FastAPI

from services.hra_screening import predictor
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings


def create() -> FastAPI:
    settings = ServiceSettings()
    return create_app(predictor.create(settings), settings)
