"""The OpenAPI documentation of jobs: replies of their own routes, and the job options of the models' routes."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.jobs.schemas import EVENT_STREAM, public_job
from sightline.api import headers as names
from sightline.api.declaration import route_of
from sightline.api.problems import Code, Problem
from sightline.http.negotiation import OCTET_STREAM
from sightline.http.openapi import BINARY, JSON_TYPE, header_references, problem_reply
from sightline.jobs.job import BlobRef, Job, JobReason, JobState, Priority, Representation, StoredRequest

Json = dict[str, Any]
Replies = dict[int | str, Json]

_RESULT_PATH = "/v1/jobs/{job_id}/result"

EXAMPLE_ID = "6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21"
_TEXT: Mapping[str, Any] = {"type": "string"}


def _example_job(state: JobState) -> Json:
    ended = state is JobState.SUCCEEDED
    body, result = BlobRef("b5" * 32, 31_457_280), BlobRef("9c" * 32, 12_582_912)
    headers = {names.MODEL: "inpaint@1.0.0+1f2e3d4c5b6a", names.INPUT_SHA256: "b5" * 32}
    job = Job(
        id=EXAMPLE_ID,
        model="inpaint",
        owner="public",
        priority=Priority.INTERACTIVE,
        reason=JobReason.PIXELS,
        state=state,
        request=StoredRequest("/v1/inpaint", "", "multipart/form-data; boundary=x", "image/png", body),
        request_id="0f8fad5bd9cb469fa16570867728950e",
        created_at=1_767_225_600.0,
        attempts=int(ended),
        started_at=1_767_225_603.5 if ended else None,
        finished_at=1_767_225_611.0 if ended else None,
        expires_at=1_767_312_011.0 if ended else None,
        results=(Representation("image/png", result, headers),) if ended else (),
        stages_ms={"decode": 900.0, "infer": 5400.0, "encode": 1100.0} if ended else {},
    )
    waiting: Json = {} if ended else {"position": 3, "eta_s": 22.5}
    return public_job(job, **waiting).model_dump(mode="json")


def _replies(*described: tuple[str, Code]) -> Replies:
    return {int(Problem(code, "").status): problem_reply(description, code) for description, code in described}


_UNAUTHORIZED = "The API key is missing or unknown.", Code.UNAUTHORIZED
_NOT_FOUND = "The job does not exist, or belongs to another caller.", Code.NOT_FOUND
_UNAVAILABLE = "The job queue cannot be reached; try again after `Retry-After`.", Code.QUEUE_UNAVAILABLE
_COMMON = _replies(_UNAUTHORIZED, _NOT_FOUND, _UNAVAILABLE)
INVALID_REPLIES = _replies(("The request has invalid fields, which `errors` names.", Code.INVALID_REQUEST))


def _json(example: Json, description: str) -> Replies:
    return {200: {"description": description, "content": {"application/json": {"example": example}}}}


JOB_REPLIES: Replies = {**_json(_example_job(JobState.SUCCEEDED), "The job"), **_COMMON}
PAGE_REPLIES: Replies = {
    **_json({"jobs": [_example_job(JobState.QUEUED)], "next": "/v1/jobs?limit=1&after=1041"}, "A page of the jobs"),
    **_replies(_UNAUTHORIZED, _UNAVAILABLE),
}
RESULT_REPLIES: Replies = {
    200: {
        "description": "The result, the same as the reply of the model's route",
        "headers": header_references(
            *(names.REQUEST_ID, names.JOB, names.MODEL, names.INPUT_SHA256, names.BODY_SHA256, names.CACHE, "ETag"),
            *(names.EVIDENCE, "Link"),
        ),
        # `document_jobs` adds the models' media types once their documents are known.
        "content": {OCTET_STREAM: {"schema": dict(BINARY)}},
    },
    304: {"description": "The result matches `If-None-Match`"},
    **_COMMON,
    **_replies(
        ("The result has no representation in an accepted media type.", Code.NOT_ACCEPTABLE),
        ("The job has not ended; try again after `Retry-After`.", Code.NOT_FINISHED),
        ("The job was cancelled, or its result has been deleted.", Code.GONE),
        ("The last attempt at the job failed.", Code.UPSTREAM_FAILED),
    ),
}
_EXAMPLE_EVENTS = f'event: running\ndata: {{"id": "{EXAMPLE_ID}", "state": "running"}}\nid: 1767225603500-0\n\n'
EVENTS_REPLIES: Replies = {
    200: {
        "description": "Server-sent events, named by the job's new state or `progress`, until the job ends",
        "content": {EVENT_STREAM: {"example": _EXAMPLE_EVENTS}},
    },
    204: {"description": "`Last-Event-ID` is the job's last event: do not reconnect"},
    **_COMMON,
}


def document_jobs(document: Json, models: Iterable[str]) -> Json:
    """Adds the headers that request a job, and the replies to them, to each model's POST."""
    paths, content = dict(document["paths"]), Json()
    for route in map(route_of, models):
        if "post" in paths.get(route, {}):
            content |= paths[route]["post"].get("responses", {}).get("200", {}).get("content", {})
            paths[route] = {**paths[route], "post": _with_job(paths[route]["post"])}
    if _RESULT_PATH in paths:
        paths[_RESULT_PATH] = {"get": _with_result(paths[_RESULT_PATH]["get"], content)}
    return {**document, "paths": paths}


def _with_result(operation: Mapping[str, Any], content: Json) -> Json:
    """Adds the media types of all models to a job's result; the JSON schema depends on the job's model."""
    replies = operation["responses"]
    described = {OCTET_STREAM: {"schema": dict(BINARY)}}
    described |= {media_type: {"schema": {} if media_type == JSON_TYPE else dict(BINARY)} for media_type in content}
    return {**operation, "responses": {**replies, "200": {**replies["200"], "content": described}}}


def _with_job(operation: Mapping[str, Any]) -> Json:
    parameters = [*operation.get("parameters", []), *_PARAMETERS]
    return {**operation, "parameters": parameters, "responses": {**_job_replies(), **operation.get("responses", {})}}


def _job_replies() -> Json:
    problems = _replies(
        _UNAUTHORIZED,
        ("The key does not allow this.", Code.FORBIDDEN),
        ("The first request with this idempotency key is still being processed.", Code.KEY_IN_USE),
        ("The idempotency key was used for a different request.", Code.KEY_REUSED),
    )
    return {"202": _accepted(), **{str(status): reply for status, reply in problems.items()}}


def _accepted() -> Json:
    schema = {"$ref": "#/components/schemas/PublicJob"}
    return {
        "description": "The request is processed as a job; `detail` has the reason",
        "headers": header_references(
            *(names.REQUEST_ID, "Location", "Retry-After", names.JOB, names.PREFERENCE_APPLIED, names.CACHE)
        ),
        "content": {"application/json": {"schema": schema, "example": _example_job(JobState.QUEUED)}},
    }


def _parameter(name: str, description: str, **schema: Any) -> Json:
    """Describes an optional header; it has no example, because Swagger UI would send the example."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {**_TEXT, **schema}}


_PARAMETERS = (
    _parameter(
        names.PREFER,
        "`respond-async` requests a job and the reply 202; `wait=N` waits up to N seconds for its end (RFC 7240). "
        "Example: `respond-async, wait=10`.",
    ),
    _parameter(
        names.IDEMPOTENCY_KEY,
        "Makes the request a job that runs once, even if the request is sent again with this key.",
        minLength=1,
        maxLength=255,
    ),
    _parameter(
        names.PRIORITY,
        "Priority of the job; by default the highest that the API key allows.",
        enum=list(Priority),
    ),
    _parameter(
        names.WEBHOOK,
        "URL that receives a signed event (Standard Webhooks) when the job ends; makes the request a job.",
    ),
    _parameter(names.WEBHOOK_SECRET, "Secret that signs the event: `whsec_` and 24 to 64 bytes in Base64."),
)
