"""The OpenAPI description of a model's route, from what the model tells about itself."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sightline.api import headers as names
from sightline.api.problems import MEDIA_TYPE, STATUS, Code, Problem, ProblemDetails
from sightline.serving.predictor import ModelInfo, PictureField

Json = dict[str, Any]

BINARY: Mapping[str, str] = {"type": "string", "format": "binary"}
DOCUMENTED = (
    Code.UNREADABLE_IMAGE,
    Code.NOT_ACCEPTABLE,
    Code.TOO_MANY_PIXELS,
    Code.UNSUPPORTED_FORMAT,
    Code.OVERLOADED,
    Code.DEADLINE_EXCEEDED,
)
SENTENCES: Mapping[Code, str] = {
    Code.UNREADABLE_IMAGE: "A picture, a mask or an option is wrong.",
    Code.NOT_ACCEPTABLE: "There is no representation that the client accepts.",
    Code.TOO_MANY_PIXELS: "The request has too many bytes or pixels; the limit is named.",
    Code.UNSUPPORTED_FORMAT: "The picture's format is not known.",
    Code.OVERLOADED: "Too much work is queued, or the model is not ready.",
    Code.DEADLINE_EXCEEDED: "The answer was not ready by its deadline.",
}


def describe_predict(info: ModelInfo, options: type[BaseModel]) -> Json:
    schema = inlined(options.model_json_schema())
    return {
        "parameters": [_query(name, each) for name, each in schema.get("properties", {}).items()],
        "requestBody": {"required": True, "content": _request_content(info, schema)},
        "responses": {"200": _success(info), **_problems()},
    }


def inlined(schema: Json) -> Json:
    """The schema with its definitions in their places, as a route's description has no place for them."""
    definitions = schema.get("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        rest = {name: resolve(each) for name, each in node.items() if name not in ("$defs", "$ref")}
        if "$ref" in node:
            return {**resolve(definitions[node["$ref"].rpartition("/")[2]]), **rest}
        return rest

    resolved: Json = resolve(schema)
    return resolved


def _query(name: str, schema: Json) -> Json:
    parameter = {"name": name, "in": "query", "required": False, "schema": schema}
    return {**parameter, "description": schema["description"]} if "description" in schema else parameter


def _request_content(info: ModelInfo, options: Json) -> Json:
    pictures = {picture.name: _picture(picture) for picture in info.pictures}
    form = {
        "type": "object",
        "properties": {**pictures, **options.get("properties", {})},
        "required": [picture.name for picture in info.pictures if picture.required],
    }
    content: Json = {"multipart/form-data": {"schema": form}}
    if sum(picture.required for picture in info.pictures) <= 1:
        content["image/*"] = {"schema": dict(BINARY)}
    return content


def _picture(picture: PictureField) -> Json:
    if picture.repeatable:
        return {"type": "array", "items": dict(BINARY), "description": picture.description}
    return {**BINARY, "description": picture.description}


def _success(info: ModelInfo) -> Json:
    text = {"schema": {"type": "string"}}
    return {
        "description": "The representation that the client accepts",
        "headers": dict.fromkeys((names.REQUEST_ID, names.MODEL, names.INPUT_SHA256), text),
        "content": {media_type: {"schema": _reply(info, media_type)} for media_type in info.media_types},
    }


def _reply(info: ModelInfo, media_type: str) -> Json:
    if media_type != "application/json":
        return dict(BINARY)
    return inlined(info.record.model_json_schema()) if info.record else {"type": "object"}


def _problems() -> Json:
    schema = inlined(ProblemDetails.model_json_schema())
    return {str(int(STATUS[code])): _problem(code, schema) for code in DOCUMENTED}


def _problem(code: Code, schema: Json) -> Json:
    example = Problem(code, SENTENCES[code]).details("0f8fad5bd9cb469fa16570867728950e").model_dump(mode="json")
    content = {MEDIA_TYPE: {"schema": schema, "example": example}}
    return {"description": SENTENCES[code], "content": content}
