"""The reply with a finished job's result or problem, the same as the reply to a synchronous request."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Scope

from services.gateway.jobs.backend import JobBackend
from services.gateway.jobs.schemas import job_path
from services.gateway.requests.forwarded_headers import public_prefix
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.middleware import is_head
from sightline.http.negotiation import negotiate
from sightline.jobs.blob_store import BlobDamaged
from sightline.jobs.evidence_store import EvidenceStore, describedby_link
from sightline.jobs.job import BlobRef, Job, JobState, Representation

log = structlog.get_logger()

_STANDARD_MEMBERS = ("type", "title", "status", "code", "detail", "request_id")


async def result_of(job: Job, scope: Scope, backend: JobBackend, evidence: EvidenceStore | None) -> Response:
    """Returns the reply for a job that has ended.

    Raises the Problem that the job ended with, NOT_ACCEPTABLE, or GONE.
    """
    if job.state is not JobState.SUCCEEDED:
        raise _failure(job, public_prefix(scope))
    if not job.results:
        raise Problem(Code.GONE, "The result of this job has been deleted.", job=job.id)
    headers = Headers(scope=scope)
    representation = _choose(job, headers.get("accept"))
    reply_headers = result_headers(job, representation)
    if _is_unmodified(headers.get("if-none-match"), reply_headers["ETag"]):
        return Response(status_code=304, headers=reply_headers)
    if link := await describedby_link(
        evidence,
        owner=job.owner,
        request_id=job.request_id,
        header=representation.headers.get(names.EVIDENCE),
        prefix=public_prefix(scope),
    ):
        reply_headers["Link"] = link
    reply_headers |= {
        "Content-Length": str(representation.blob.size_bytes),
        "Content-Type": representation.media_type,
    }
    if is_head(scope):
        return Response(headers=reply_headers)
    blocks = await _open(representation.blob, job, backend)
    return StreamingResponse(_delayed(blocks), headers=reply_headers)


async def _open(blob: BlobRef, job: Job, backend: JobBackend) -> AsyncIterator[bytes]:
    """Opens a stored result; raises Problem GONE where it is missing or damaged, and stops its use as a cached result.

    Raises STORAGE_UNAVAILABLE where the store cannot be reached.
    """
    try:
        return await backend.store.open(blob)
    except Problem as problem:
        damaged = isinstance(problem, BlobDamaged)
        if not damaged and problem.code is not Code.GONE:
            raise
        await backend.queue.invalidate_result(job.id)
        log.error("result_damaged" if damaged else "result_missing", job=job.id, sha256=blob.sha256)
        fault = "damaged" if damaged else "missing"
        raise Problem(
            Code.GONE, f"The stored result of this job is {fault}; submit the request again.", job=job.id
        ) from problem


def result_headers(job: Job, representation: Representation) -> dict[str, str]:
    cached = {names.CACHE: "hit"} if job.cached_from else {}
    return {
        **representation.headers,
        **cached,
        "Cache-Control": "no-store",
        "Vary": "Accept",
        "ETag": f'"{representation.blob.sha256}"',
        names.JOB: job.id,
        names.BODY_SHA256: job.request.body.sha256,
    }


def _choose(job: Job, accept: str | None) -> Representation:
    media_type = negotiate(accept, [representation.media_type for representation in job.results])
    return next(representation for representation in job.results if representation.media_type == media_type)


async def _delayed(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields each block when the next one has arrived.

    The store verifies the digest after the last block, so that a damaged result never makes a complete reply.
    """
    previous = b""
    async for block in blocks:
        if previous:
            yield previous
        previous = block
    if previous:
        yield previous


def _is_unmodified(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]


def _failure(job: Job, prefix: str) -> Problem:
    facts: dict[str, Any] = {"job": job.id, "status_url": job_path(job.id, prefix)}
    if job.state is JobState.CANCELLED:
        return Problem(Code.GONE, "This job was cancelled.", **facts)
    stored = dict(job.problem or {})
    if job.state is JobState.DEAD:
        detail = f"The job failed in each of its {job.attempts} attempts."
        return Problem(Code.UPSTREAM_FAILED, detail, **facts, last_problem=stored or None)
    return Problem(_code(stored), str(stored.get("detail", "The job failed.")), **facts, **_facts(stored))


def _code(stored: Mapping[str, Any]) -> Code:
    """Returns the stored code, or UPSTREAM_FAILED for a code that only another version of the service defines."""
    return Code(stored["code"]) if stored.get("code") in tuple(Code) else Code.UPSTREAM_FAILED


def _facts(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stored.items() if name not in (*_STANDARD_MEMBERS, "job", "status_url")}
