"""`GET /v1/models/{model}/card`: purpose, training data and limits of a model."""

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from sightline.api.declaration import model_name
from sightline.api.evidence import ModelIdentity
from sightline.api.problems import Code, Problem
from sightline.http.negotiation import negotiate
from sightline.serving.service import ModelService

MARKDOWN, JSON = "text/markdown", "application/json"


class ModelCard(BaseModel):
    """A model card, with facts about the loaded weights."""

    name: str
    title: str
    description: str
    route: str
    media_types: list[str]
    weights: ModelIdentity
    card: str


def card_router(service: ModelService) -> APIRouter:
    router, declaration, card_text = APIRouter(tags=["models"]), service.predictor.declaration, service.predictor.card

    @router.get(
        "/v1/models/{model}/card",
        response_model=ModelCard,
        responses={200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}},
    )
    async def card(model: str, request: Request) -> Response:
        require_model(model, declaration.name)
        if negotiate(request.headers.get("accept"), [MARKDOWN, JSON]) == MARKDOWN:
            return Response(card_text, media_type=MARKDOWN)
        return JSONResponse(_card(service).model_dump(mode="json"))

    return router


def require_model(requested: str, name: str) -> None:
    if model_name(requested) != name:
        raise Problem(Code.NOT_FOUND, "There is no such model here; `models` lists the available ones.", models=[name])


def _card(service: ModelService) -> ModelCard:
    declaration = service.predictor.declaration
    return ModelCard(
        name=declaration.name,
        title=declaration.title,
        description=declaration.description,
        route=declaration.route,
        media_types=list(declaration.media_types),
        weights=service.identity,
        card=service.predictor.card,
    )
