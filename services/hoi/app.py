"""The interaction service, for `uvicorn --factory services.hoi.app:create`."""

from fastapi import FastAPI

from services.hoi import predictor
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings


def create() -> FastAPI:
    settings = ServiceSettings()
    return create_app(predictor.create(settings), settings)
