from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.gateway.deps import GatewayDep
from services.gateway.settings import GatewaySettings
from services.gateway.state import Gateway

router = APIRouter(tags=["fleet"])


class Limits(BaseModel):
    """What a single request may bring."""

    max_bytes: int
    max_pixels: int
    max_side_px: int
    sync_pixels: int = Field(description="Pictures with more become jobs")
    max_job_bytes: int = Field(description="Requests above max_bytes become jobs up to this size")


class QueueCapacity(BaseModel):
    """What a model's queue holds, as it was last looked at."""

    waiting: int
    slots: int = Field(description="Jobs that its services run at a time")
    eta_s: float | None = Field(description="Until a job that is submitted now would probably be finished")


class ModelCapacity(BaseModel):
    """How busy one model is, seen from this gateway."""

    name: str = Field(examples=["inpaint"])
    replicas: int
    ready_replicas: int
    in_flight: int
    estimated_queue_ms: float | None = Field(description="At the least busy ready replica; null where none tells")
    queue: QueueCapacity | None = Field(description="Null where there are no jobs, or while Redis is away")


class Capacity(BaseModel):
    limits: Limits
    in_flight: int
    max_in_flight: int
    in_flight_bytes: int
    max_in_flight_bytes: int
    models: list[ModelCapacity]


@router.get("/v1/capacity", summary="How busy the fleet is, and what it accepts")
async def get_capacity(gateway: GatewayDep) -> Capacity:
    settings, limiter = gateway.settings, gateway.limiter
    return Capacity(
        limits=_limits(settings),
        in_flight=limiter.requests,
        max_in_flight=limiter.max_requests,
        in_flight_bytes=limiter.size_bytes,
        max_in_flight_bytes=limiter.max_bytes,
        models=[_model(gateway, name) for name in gateway.fleet.models],
    )


def _limits(settings: GatewaySettings) -> Limits:
    return Limits(
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        max_side_px=settings.max_side_px,
        sync_pixels=settings.sync_pixels,
        max_job_bytes=settings.max_job_bytes,
    )


def _model(gateway: Gateway, name: str) -> ModelCapacity:
    replicas, ready = gateway.fleet.replicas(name), gateway.fleet.ready_replicas(name)
    told_ms = [
        replica.report.estimated_queue_ms
        for replica in ready
        if replica.report is not None and replica.report.estimated_queue_ms is not None
    ]
    return ModelCapacity(
        name=name,
        replicas=len(replicas),
        ready_replicas=len(ready),
        in_flight=sum(replica.in_flight for replica in replicas),
        estimated_queue_ms=min(told_ms, default=None),
        queue=_queue(gateway, name),
    )


def _queue(gateway: Gateway, name: str) -> QueueCapacity | None:
    snapshot = gateway.job_backend.queue_monitor.snapshot if gateway.job_backend else None
    load = snapshot.loads.get(name) if snapshot else None
    return QueueCapacity(waiting=load.waiting, slots=load.slots, eta_s=load.eta_s) if load else None
