"""Read-only routes on the state of the fleet: health, models, capacity, and Prometheus targets."""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from services.gateway.jobs.backend import refusal_of
from services.gateway.settings import GatewaySettings
from services.gateway.state import CallerDep, Gateway, GatewayDep, PrefixDep, gateway_of
from services.gateway.upstream.replicas import Replica
from sightline.api.declaration import model_name, route_of
from sightline.api.evidence import DetectorIdentity
from sightline.api.problems import Code, Problem
from sightline.http.fleet_credential import is_accepted
from sightline.http.request_headers import bearer_token

router = APIRouter()
TARGETS_PATH = "/metrics/targets"


class Liveness(BaseModel):
    live: bool = True


class Readiness(BaseModel):
    """Ready when every configured model that may not rest has a ready replica, and the gateway's tasks run."""

    ready: bool
    detail: str | None = Field(default=None, description="Why the gateway itself is not ready")
    models: dict[str, bool]
    accepts_jobs: bool = Field(description="Small requests are answered all the same")
    jobs_detail: str | None = Field(default=None, description="Why no jobs are accepted, where they should be")


@router.get("/livez", tags=["health"], summary="Liveness of the gateway")
async def livez() -> Liveness:
    return Liveness()


@router.get(
    "/readyz",
    tags=["health"],
    summary="Readiness of every model",
    responses={503: {"model": Readiness}},
)
async def readyz(gateway: GatewayDep, response: Response) -> Readiness:
    if not gateway.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    refusal = refusal_of(gateway.job_backend) if gateway.job_backend else None
    return Readiness(
        ready=gateway.ready,
        detail=gateway.tasks.failure,
        models={model: bool(gateway.fleet.ready_replicas(model)) for model in gateway.fleet.models},
        accepts_jobs=gateway.job_backend is not None and refusal is None,
        jobs_detail=refusal,
    )


class Model(BaseModel):
    """A model of the fleet; fields that its service has not reported yet are null."""

    name: str = Field(examples=["inpaint"])
    route: str = Field(examples=["/v1/inpaint"])
    title: str | None
    description: str | None
    media_types: list[str] = Field(description="Of the replies, the preferred first", examples=[["image/png"]])
    version: str | None
    weights_sha256: str | None
    contract: str | None = Field(description="`shipped`, or the name of the declared contract of replaced weights")
    detector: DetectorIdentity | None = Field(description="The detector that replaces the model's own")
    stronger_weights: str | None = Field(
        description="An entry of the catalogue of public weights with a better measured quality, as a sentence"
    )
    provider: str | None = Field(examples=["CPUExecutionProvider"])
    precision: str | None = Field(examples=["fp32"])
    card: str = Field(description="Path of its model card", examples=["/v1/models/inpaint/card"])
    replicas: int
    ready_replicas: int


class ModelList(BaseModel):
    models: list[Model]


@router.get("/v1/models", tags=["fleet"], summary="The models that the caller may use")
async def list_models(gateway: GatewayDep, caller: CallerDep, prefix: PrefixDep) -> ModelList:
    models = [_model(gateway, name, prefix) for name in gateway.fleet.models if caller.may_use(name)]
    return ModelList(models=models)


@router.get("/v1/models/{model}", tags=["fleet"], summary="One model of this fleet")
async def get_model(model: str, gateway: GatewayDep, caller: CallerDep, prefix: PrefixDep) -> Model:
    """The model of this name, `hdr_correct`, or of the spelling in its route, `hdr-correct`."""
    model = model_name(model)
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
        detector=report.detector,
        stronger_weights=report.stronger_weights,
        provider=report.provider,
        precision=report.precision,
        card=f"{prefix}/v1/models/{name}/card",
        replicas=len(replicas),
        ready_replicas=len(gateway.fleet.ready_replicas(name)),
    )


class Limits(BaseModel):
    """Limits of a single request."""

    max_bytes: int
    max_pixels: int
    max_side_px: int
    sync_pixels: int = Field(description="Pictures with more become jobs")
    max_job_bytes: int = Field(description="Requests above max_bytes become jobs up to this size")


class QueueCapacity(BaseModel):
    """The load of a model's queue, as of the last reading."""

    waiting: int
    slots: int = Field(description="Jobs that its services run at a time")
    eta_s: float | None = Field(description="Estimated seconds until a job that is submitted now is finished")


class ModelCapacity(BaseModel):
    """The load of one model, as seen by this gateway."""

    name: str = Field(examples=["inpaint"])
    replicas: int
    ready_replicas: int
    in_flight: int
    estimated_queue_ms: float | None = Field(description="At the least busy ready replica; null where none reports it")
    queue: QueueCapacity | None = Field(description="Null where there are no jobs, or while Redis is away")


class Capacity(BaseModel):
    limits: Limits
    in_flight: int
    max_in_flight: int
    in_flight_bytes: int
    max_in_flight_bytes: int
    models: list[ModelCapacity]


@router.get("/v1/capacity", tags=["fleet"], summary="How busy the fleet is, and what it accepts")
async def get_capacity(gateway: GatewayDep) -> Capacity:
    settings, limiter = gateway.settings, gateway.limiter
    return Capacity(
        limits=_limits(settings),
        in_flight=limiter.requests,
        max_in_flight=limiter.max_requests,
        in_flight_bytes=limiter.size_bytes,
        max_in_flight_bytes=limiter.max_bytes,
        models=[_model_capacity(gateway, name) for name in gateway.fleet.models],
    )


def _limits(settings: GatewaySettings) -> Limits:
    return Limits(
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        max_side_px=settings.max_side_px,
        sync_pixels=settings.sync_pixels,
        max_job_bytes=settings.max_job_bytes,
    )


def _model_capacity(gateway: Gateway, name: str) -> ModelCapacity:
    replicas, ready = gateway.fleet.replicas(name), gateway.fleet.ready_replicas(name)
    reported_ms = [
        replica.report.estimated_queue_ms
        for replica in ready
        if replica.report is not None and replica.report.estimated_queue_ms is not None
    ]
    return ModelCapacity(
        name=name,
        replicas=len(replicas),
        ready_replicas=len(ready),
        in_flight=sum(replica.in_flight for replica in replicas),
        estimated_queue_ms=min(reported_ms, default=None),
        queue=_queue(gateway, name),
    )


def _queue(gateway: Gateway, name: str) -> QueueCapacity | None:
    snapshot = gateway.job_backend.queue_monitor.snapshot if gateway.job_backend else None
    load = snapshot.loads.get(name) if snapshot else None
    return QueueCapacity(waiting=load.waiting, slots=load.slots, eta_s=load.eta_s) if load else None


def _require_credential(request: Request) -> None:
    """Raises Problem NOT_FOUND where no credential is configured, UNAUTHORIZED where it is not presented."""
    settings: GatewaySettings = gateway_of(request.scope).settings
    if not settings.metrics_credentials:
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.")
    token = bearer_token(request.headers)
    if token is None or not is_accepted(token.encode("latin-1"), settings.metrics_credentials):
        detail = "The targets are for Prometheus: send the metrics credential as `Authorization: Bearer …`."
        raise Problem(Code.UNAUTHORIZED, detail)


class TargetGroup(BaseModel):
    """A group of targets in the format of Prometheus' HTTP service discovery."""

    targets: list[str]
    labels: dict[str, str]


@router.get(TARGETS_PATH, include_in_schema=False, dependencies=[Depends(_require_credential)])
async def list_targets(gateway: GatewayDep) -> list[TargetGroup]:
    """Returns every replica that the gateway forwards to, ready or not."""
    return [_group(replica) for replica in gateway.fleet]


def _group(replica: Replica) -> TargetGroup:
    url = urlsplit(replica.url)
    return TargetGroup(
        targets=[url.netloc], labels={"service": replica.model.replace("_", "-"), "__scheme__": url.scheme}
    )
