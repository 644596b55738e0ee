"""`sightline predict`: one picture through one model, here or on a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2
import typer
from pydantic import BaseModel, ValidationError

from sightline.api.routes import route_of
from sightline.cli.faults import Fault
from sightline.serving.predictor import ModelInfo, Upload
from sightline.serving.settings import ServiceSettings

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".json": "application/json",
    ".jsonld": "application/ld+json",
    ".graphml": "application/graphml+xml",
    ".zip": "application/zip",
    ".glb": "model/gltf-binary",
    ".hdr": "image/vnd.radiance",
    ".exr": "image/x-exr",
    ".gif": "image/gif",
    ".apng": "image/apng",
}
TIMEOUT_S = 300.0


def predict(model: str, photo: Path, out: Path, *, mask: Path | None, options: Sequence[str], url: str | None) -> None:
    pictures = {"image": photo.read_bytes()} | ({"mask": mask.read_bytes()} if mask else {})
    values = _parse_options(options)
    if url is None:
        body = _here(model, pictures, values, _media_type(out))
    else:
        body = _there(url, model, pictures, values, _media_type(out))
    out.write_bytes(body)
    typer.echo(f"Wrote {out} ({len(body)} bytes).")


def _media_type(out: Path) -> str:
    try:
        return MEDIA_TYPES[out.suffix.lower()]
    except KeyError:
        raise typer.BadParameter(f"the suffix of {out} must be one of {' '.join(MEDIA_TYPES)}") from None


def _parse_options(options: Sequence[str]) -> dict[str, str]:
    if faulty := [option for option in options if "=" not in option]:
        raise typer.BadParameter(f"{faulty[0]!r} is not of the form NAME=VALUE")
    return dict(option.split("=", 1) for option in options)


def _here(model: str, pictures: Mapping[str, bytes], values: Mapping[str, str], media_type: str) -> bytes:
    # The inference runtime takes a second to import, which a request to a server does not need.
    from sightline.cli.local import LocalModel

    local = LocalModel(model, ServiceSettings())
    info = local.predictor.info
    if media_type not in info.media_types:
        raise Fault(f"{model} answers with {', '.join(info.media_types)}, not with {media_type}")
    upload = Upload(_only_known(info, pictures), _validate(local.predictor.options, values))
    return local.answer(upload, media_type).body


def _only_known(info: ModelInfo, pictures: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    fields = {picture.name for picture in info.pictures}
    if unknown := sorted(set(pictures) - fields):
        raise Fault(f"{info.name} takes no picture {unknown[0]!r}, only {', '.join(sorted(fields))}")
    return {name: [data] for name, data in pictures.items()}


def _validate(options: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    if unknown := sorted(set(values) - set(options.model_fields)):
        raise Fault(f"there is no option {unknown[0]!r}, only {', '.join(options.model_fields) or 'none'}")
    try:
        return options.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise Fault("; ".join(faults)) from None


def _there(url: str, model: str, pictures: Mapping[str, bytes], values: Mapping[str, str], media_type: str) -> bytes:
    address = url.rstrip("/") + route_of(model)
    headers = {"Accept": media_type}
    try:
        reply = httpx2.post(address, files=dict(pictures), data=dict(values), headers=headers, timeout=TIMEOUT_S)
    except httpx2.TransportError as error:
        raise Fault(f"no answer from {address}: {error}") from None
    if not reply.is_success:
        raise Fault(f"the server refused ({reply.status_code}): {_detail(reply)}")
    return reply.content


def _detail(reply: httpx2.Response) -> str:
    """What problem details say, or what else came."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return reply.text[:500]
