from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.gateway.deps import CallerDep, GatewayDep, PrefixDep
from services.gateway.state import Gateway
from sightline.api.routes import route_of

router = APIRouter(tags=["fleet"])


class Model(BaseModel):
    """A model of the fleet; what its service has not told yet is null."""

    name: str = Field(examples=["inpaint"])
    route: str = Field(examples=["/v1/inpaint"])
    title: str | None
    description: str | None
    media_types: list[str] = Field(description="Of the replies, the preferred first", examples=[["image/png"]])
    version: str | None
    weights_sha256: str | None
    contract: str | None = Field(description="`shipped`, or the name of the declared contract of replaced weights")
    provider: str | None = Field(examples=["CPUExecutionProvider"])
    precision: str | None = Field(examples=["fp32"])
    card: str = Field(description="Where its model card is", examples=["/v1/models/inpaint/card"])
    replicas: int
    ready_replicas: int


class ModelList(BaseModel):
    models: list[Model]


@router.get("/v1/models", summary="The models that the caller may use")
async def list_models(gateway: GatewayDep, caller: CallerDep, prefix: PrefixDep) -> ModelList:
    models = [_model(gateway, name, prefix) for name in gateway.fleet.models if caller.may_use(name)]
    return ModelList(models=models)


@router.get("/v1/models/{model}", summary="One model of this fleet")
async def get_model(model: str, gateway: GatewayDep, caller: CallerDep, prefix: PrefixDep) -> Model:
    gateway.fleet.replicas(model)
    caller.require_model(model)
    return _model(gateway, model, prefix)


def _model(gateway: Gateway, name: str, prefix: str) -> Model:
    replicas, report, card = gateway.fleet.replicas(name), gateway.catalog.report(name), gateway.catalog.card(name)
    return Model(
        name=name,
        route=prefix + route_of(name),
        title=card.title,
        description=card.description,
        media_types=card.media_types,
        version=report.version,
        weights_sha256=report.weights_sha256,
        contract=report.contract,
        provider=report.provider,
        precision=report.precision,
        card=f"{prefix}/v1/models/{name}/card",
        replicas=len(replicas),
        ready_replicas=len(gateway.fleet.ready_replicas(name)),
    )
