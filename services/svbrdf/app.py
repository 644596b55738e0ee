"""The material service, for `uvicorn --factory services.svbrdf.app:create`."""

from fastapi import FastAPI

from services.svbrdf import predictor
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings


def create() -> FastAPI:
    settings = ServiceSettings()
    return create_app(predictor.create(settings), settings)
