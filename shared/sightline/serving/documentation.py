"""The OpenAPI description of a model's route, from the model's declaration."""

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.api import headers as names
from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.api.problems import STATUS, Code
from sightline.http.negotiation import OCTET_STREAM
from sightline.http.openapi import BINARY, JSON_TYPE, Json, header_references, option_schemas, problem_reply, reference

DOCUMENTED_CODES = (
    Code.UNREADABLE_IMAGE,
    Code.NOT_ACCEPTABLE,
    Code.TOO_MANY_PIXELS,
    Code.UNSUPPORTED_FORMAT,
    Code.OVERLOADED,
    Code.DEADLINE_EXCEEDED,
)
PROBLEM_DESCRIPTIONS: Mapping[Code, str] = {
    Code.UNREADABLE_IMAGE: "A picture, a mask or an option is wrong.",
    Code.NOT_ACCEPTABLE: "There is no representation that the client accepts.",
    Code.TOO_MANY_PIXELS: "The request has too many bytes or pixels; the limit is named.",
    Code.UNSUPPORTED_FORMAT: "The picture's format is not known.",
    Code.OVERLOADED: "Too much work is queued, or the model is not ready.",
    Code.DEADLINE_EXCEEDED: "The answer was not ready by its deadline.",
}


def describe_predict(declaration: ModelDeclaration[Any], *, max_pictures: int) -> Json:
    properties = option_schemas(declaration.options)
    return {
        "parameters": [_query(name, schema) for name, schema in properties.items()],
        "requestBody": {"required": True, "content": _request_content(declaration, properties, max_pictures)},
        "responses": {
            "200": _success(declaration),
            **{str(int(STATUS[code])): problem_reply(PROBLEM_DESCRIPTIONS[code], code) for code in DOCUMENTED_CODES},
        },
    }


def _query(name: str, schema: Json) -> Json:
    description = {"description": schema["description"]} if "description" in schema else {}
    inner = {key: each for key, each in schema.items() if key != "description"}
    # One without a value counts as absent.
    return {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": inner, **description}


def _request_content(declaration: ModelDeclaration[Any], options: Json, max_pictures: int) -> Json:
    pictures = {picture.name: _picture(picture, max_pictures) for picture in declaration.pictures}
    form = {
        "type": "object",
        # Swagger UI fills a field with a value that it makes up, and sends it, unless there is an example. An empty
        # field counts as absent.
        "properties": {**pictures, **{name: {**schema, "examples": [""]} for name, schema in options.items()}},
        "required": [picture.name for picture in declaration.pictures if picture.required],
        "additionalProperties": False,
    }
    content: Json = {"multipart/form-data": {"schema": form}}
    if sum(picture.required for picture in declaration.pictures) <= 1:
        # Also as `image/…`; generated clients know this type.
        content["application/octet-stream"] = {"schema": dict(BINARY)}
    return content


def _picture(picture: PictureField, max_pictures: int) -> Json:
    if picture.repeatable:
        bounds = {"minItems": 1, "maxItems": max_pictures} if picture.required else {"maxItems": max_pictures}
        return {"type": "array", "items": dict(BINARY), **bounds, "description": picture.description}
    return {**BINARY, "description": picture.description}


def _success(declaration: ModelDeclaration[Any]) -> Json:
    headers = (
        *(names.REQUEST_ID, names.MODEL, names.INPUT_SHA256, names.BODY_SHA256, names.NOTES),
        *(names.EVIDENCE, "Link", "Server-Timing"),
    )
    return {
        "description": "The representation that the client accepts",
        "headers": header_references(*headers, *declaration.headers),
        "content": {
            media_type: {"schema": _reply(declaration, media_type)}
            for media_type in _with_bytes(declaration.media_types)
        },
    }


def _with_bytes(media_types: Sequence[str]) -> list[str]:
    """Adds the type that covers every picture: generated clients use the first type that they support."""
    first = 0 if media_types[0] != JSON_TYPE else len(media_types)
    return (
        [*media_types[:first], OCTET_STREAM, *media_types[first:]]
        if set(media_types) != {JSON_TYPE}
        else [*media_types]
    )


def _reply(declaration: ModelDeclaration[Any], media_type: str) -> Json:
    if media_type != JSON_TYPE:
        return dict(BINARY)
    return reference(declaration.record) if declaration.record else {"type": "object"}
