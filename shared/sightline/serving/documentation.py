"""The OpenAPI description of a model's route, from what the model tells about itself, and what all routes share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sightline.api import headers as names
from sightline.api.problems import MEDIA_TYPE, STATUS, Code, Problem, ProblemDetails
from sightline.http.negotiation import OCTET_STREAM
from sightline.inference.predictor import ModelInfo, PictureField

Json = dict[str, Any]

EXAMPLE_ID = "0f8fad5bd9cb469fa16570867728950e"
JSON_TYPE = "application/json"
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
HEADERS: Mapping[str, str] = {
    names.REQUEST_ID: "Of this request; the one that the client sent, or a new one",
    names.MODEL: "Weights that gave the reply, as name@version+digest",
    names.INPUT_SHA256: "SHA-256 of the first picture as it was sent",
    names.BODY_SHA256: "SHA-256 of the request's body",
    names.NOTES: "Remarks on how the pictures were read, with commas in between",
    names.SYNTHESISED_SHARE: "Share of the picture's pixels that are synthesised, 0 to 1",
    names.DECISION: "A class, or `abstain`",
    names.CATEGORY: "The class that a heat map is of",
    names.JOB: "Id of the job that the reply is about",
    names.CACHE: "`hit` where an identical earlier job gave the result",
    names.PREFERENCE_APPLIED: "The preferences that were followed",
    "Retry-After": "Seconds until it is worth while to ask again",
    "Location": "Address of the job",
    "ETag": "SHA-256 of the result, in quotes",
    "Server-Timing": "Durations of the stages in milliseconds",
    "WWW-Authenticate": "`Bearer`",
}
_RETRIED = (429, 503)
# Swagger UI checks JSON within a text before it sends it, and refuses an empty one.
_LEFT_OUT = ("default", "examples", "title", "anyOf", "contentMediaType", "contentSchema")


def document_components(app: FastAPI, *models: type[BaseModel], requests: Iterable[type[BaseModel]] = ()) -> None:
    """Adds the schemas that the routes' descriptions refer to, and the common headers, to the app's document.

    `requests` are models of requests, which may leave out what has a default.
    """
    generate = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            added = definitions(*models, ProblemDetails, requests=requests)
            components["schemas"] = {**added, **components.get("schemas", {})}
            components["headers"] = {name: _header(name) for name in HEADERS}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def definitions(*models: type[BaseModel], requests: Iterable[type[BaseModel]] = ()) -> Json:
    """The schemas of the models and of those within them, by name."""
    wanted = [(model, "serialization") for model in models] + [(model, "validation") for model in requests]
    template = "#/components/schemas/{model}"
    found: Json = models_json_schema(wanted, ref_template=template)[1]["$defs"]  # type: ignore[arg-type]
    return found


def reference(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def header_references(*headers: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def problem_reply(description: str, *codes: Code) -> Json:
    """The description of a reply with problem details; with an example for each code."""
    examples = {
        code.value: {"value": Problem(code, description).details(EXAMPLE_ID).model_dump(mode="json")} for code in codes
    }
    retried = any(STATUS[code] in _RETRIED for code in codes)
    content: Json = {"schema": reference(ProblemDetails), **({"examples": examples} if examples else {})}
    headers = (names.REQUEST_ID, "Retry-After") if retried else (names.REQUEST_ID,)
    return {"description": description, "headers": header_references(*headers), "content": {MEDIA_TYPE: content}}


def describe_predict(info: ModelInfo, options: type[BaseModel], *, max_pictures: int) -> Json:
    properties = option_schemas(options)
    return {
        "parameters": [_query(name, schema) for name, schema in properties.items()],
        "requestBody": {"required": True, "content": _request_content(info, properties, max_pictures)},
        "responses": {
            "200": _success(info),
            **{str(int(STATUS[code])): problem_reply(SENTENCES[code], code) for code in DOCUMENTED},
        },
    }


def option_schemas(options: type[BaseModel]) -> Json:
    """By name, as fields of a form and query parameters have them.

    Defaults and examples are told in words: Swagger UI fills them in and sends them, and generated clients send
    defaults, both as if somebody had chosen them.
    """
    schema = inlined(options.model_json_schema())
    return {name: _option(each) for name, each in schema.get("properties", {}).items()}


def inlined(schema: Json) -> Json:
    """The schema with its definitions in their places."""
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


def _option(schema: Json) -> Json:
    described = {name: each for name, each in schema.items() if name not in _LEFT_OUT}
    # Absent is how a form says null.
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        inner = {name: each for name, each in choices[0].items() if name not in (*_LEFT_OUT, "description")}
        described = {**inner, **described}
    elif choices:
        described["anyOf"] = choices
    if told := describe_with_default(schema.get("description"), schema.get("default")):
        described["description"] = told
    return described


def describe_with_default(description: str | None, default: Any) -> str:
    """The description with the default value in words."""
    told = [] if default is None or default == [] else [f"default: {str(default).lower()}"]
    return "; ".join([*([description.rstrip(".")] if description else []), *told])


def _query(name: str, schema: Json) -> Json:
    description = {"description": schema["description"]} if "description" in schema else {}
    inner = {key: each for key, each in schema.items() if key != "description"}
    # One without a value counts as absent.
    return {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": inner, **description}


def _request_content(info: ModelInfo, options: Json, max_pictures: int) -> Json:
    pictures = {picture.name: _picture(picture, max_pictures) for picture in info.pictures}
    form = {
        "type": "object",
        # Swagger UI fills a field with a value that it makes up, and sends it, unless there is an example. An empty
        # field counts as absent.
        "properties": {**pictures, **{name: {**schema, "examples": [""]} for name, schema in options.items()}},
        "required": [picture.name for picture in info.pictures if picture.required],
        "additionalProperties": False,
    }
    content: Json = {"multipart/form-data": {"schema": form}}
    if sum(picture.required for picture in info.pictures) <= 1:
        # Also as `image/…`; generated clients know this type.
        content["application/octet-stream"] = {"schema": dict(BINARY)}
    return content


def _picture(picture: PictureField, max_pictures: int) -> Json:
    if picture.repeatable:
        bounds = {"minItems": 1, "maxItems": max_pictures} if picture.required else {"maxItems": max_pictures}
        return {"type": "array", "items": dict(BINARY), **bounds, "description": picture.description}
    return {**BINARY, "description": picture.description}


def _success(info: ModelInfo) -> Json:
    headers = (names.REQUEST_ID, names.MODEL, names.INPUT_SHA256, names.BODY_SHA256, names.NOTES, "Server-Timing")
    return {
        "description": "The representation that the client accepts",
        "headers": header_references(*headers, *info.headers),
        "content": {media_type: {"schema": _reply(info, media_type)} for media_type in _with_bytes(info.media_types)},
    }


def _with_bytes(media_types: Sequence[str]) -> list[str]:
    """With the type that covers every picture, where a generated client meets it before or after JSON as preferred."""
    first = 0 if media_types[0] != JSON_TYPE else len(media_types)
    return (
        [*media_types[:first], OCTET_STREAM, *media_types[first:]]
        if set(media_types) != {JSON_TYPE}
        else [*media_types]
    )


def _reply(info: ModelInfo, media_type: str) -> Json:
    if media_type != JSON_TYPE:
        return dict(BINARY)
    return reference(info.record) if info.record else {"type": "object"}


def _header(name: str) -> Json:
    return {"description": HEADERS[name], "schema": {"type": "string"}}
