"""Routes of evidence records, which the replies that are no JSON link to, and of the public keys of signatures."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from services.gateway.state import CallerDep, GatewayDep
from sightline.api.evidence import Evidence
from sightline.api.problems import Code, Problem
from sightline.http.openapi import problem_reply

router = APIRouter(prefix="/v1/evidence", tags=["evidence"])


class JsonWebKey(BaseModel):
    """A public key (RFC 8037)."""

    kty: str = Field(examples=["OKP"])
    crv: str = Field(examples=["Ed25519"])
    x: str
    kid: str = Field(description="Its RFC 7638 thumbprint, which records name as `signing_key`")
    use: str = Field(examples=["sig"])
    alg: str = Field(examples=["EdDSA"])


class JsonWebKeySet(BaseModel):
    """All public keys that verify evidence records; retired ones stay listed."""

    keys: list[JsonWebKey]


# A plain function, which runs on a thread: it reads files. They are read for every request, so that a new key is listed
# without a restart.
@router.get("/keys", summary="The public keys of signed evidence records")
def get_keys(gateway: GatewayDep) -> JsonWebKeySet:
    return JsonWebKeySet.model_validate(public_keys(gateway.settings.evidence_key, gateway.settings.evidence_keys))


def public_keys(private: Path | None, published: Path | None) -> dict[str, Any]:
    """Returns the JSON Web Key Set of the private key, if this process has it, and of the published keys."""
    if private is None and published is None:
        return {"keys": []}
    # Imported here, as it takes memory that gateways without keys need not have.
    from sightline.evidence.signing_keys import SigningKey, key_set, read_key_set

    own = [SigningKey.read(private).public] if private else []
    return key_set([*own, *(read_key_set(published).values() if published else ())])


@router.get(
    "/{request_id}",
    summary="The evidence record of a reply that was a picture or another file",
    response_model=Evidence,
    responses={404: problem_reply("There is no such record, or no longer.", Code.NOT_FOUND)},
)
async def get_record(
    request_id: str,
    gateway: GatewayDep,
    caller: CallerDep,
    record: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{16}$", description="From the reply's `Link`; default: the newest record")
    ] = None,
) -> Response:
    store = gateway.evidence
    found = None if store is None else await store.get(caller.owner, request_id, record)
    if found is None:
        kept = "keeps none" if store is None else f"keeps each for {gateway.settings.evidence_ttl_s:.0f} s"
        detail = f"There is no evidence record of this request here; the gateway {kept}. JSON replies and archives"
        raise Problem(Code.NOT_FOUND, f"{detail} hold their record themselves.")
    # As the service wrote it: a member that this gateway does not know belongs to what is signed.
    return JSONResponse(found)
