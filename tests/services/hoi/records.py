"""Records made by hand, for what is drawn and written from them."""

from datetime import UTC, datetime

from services.hoi.contract_facts import Role
from services.hoi.interactions import ObjectStatus
from services.hoi.results import HoiReport
from services.hoi.schemas import Detection, Frame, HoiInteraction, HoiRecord, ScoreFactors, Sight, TargetDensity
from sightline.api.evidence import Evidence, ModelIdentity

SHA256 = "ab" * 32
Box = tuple[float, float, float, float]


def detection(name: int, label: str, box: Box = (10, 10, 50, 90)) -> Detection:
    return Detection(id=name, label=label, score=0.9, box_xyxy=list(box))


def act(person: int, action: str, role: Role | None = None, thing: int | None = None) -> HoiInteraction:
    with_object = {} if thing is None else {"object": 0.8, "target": 0.5}
    return HoiInteraction(
        person=person,
        action=action,
        role=role,
        object=thing,
        object_status=None if role is None else ObjectStatus.NOT_FOUND if thing is None else ObjectStatus.FOUND,
        score=0.25,
        factors=ScoreFactors(person=0.9, action=0.7, **with_object),
        target=None if role is None else TargetDensity(mean_box_xyxy=[1.5, 2, 30, 40.25], sigma=0.3),
    )


def record(told: HoiReport) -> HoiRecord:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return HoiRecord(
        width=200,
        height=100,
        frame=Frame.DISPLAYED,
        detections=told.detections,
        interactions=told.interactions,
        people_found=2,
        min_score=0.1,
        min_detection_score=0.3,
        sight=Sight(views=1, scale=0.5),
        evidence=Evidence(
            request_id="a<b&c",
            input_sha256=SHA256,
            model=ModelIdentity(name="hoi", version="1", weights_sha256="cd" * 32, contract="shipped"),
            parameters={},
            provider="CPUExecutionProvider",
            precision="fp32",
            libraries={},
            received_at=now,
            finished_at=now,
        ),
    )


CYCLISTS = HoiReport(
    [detection(0, "person"), detection(1, "person", (60, 10, 90, 90)), detection(2, "bicycle", (20, 50, 80, 95))],
    [
        act(0, "ride", Role.INSTRUMENT, 2),
        act(1, "ride", Role.INSTRUMENT, 2),
        act(0, "hold", Role.OBJECT, 2),
        act(0, "look", Role.OBJECT, 1),
        act(1, "smile"),
        act(1, "eat", Role.OBJECT),
        act(1, "eat", Role.INSTRUMENT),
    ],
)
