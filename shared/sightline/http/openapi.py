"""Parts of OpenAPI documents that all routes share: schemas, headers, problem replies and options."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sightline.api import headers as names
from sightline.api.problems import MEDIA_TYPE, STATUS, Code, Problem, ProblemDetails

Json = dict[str, Any]

EXAMPLE_ID = "0f8fad5bd9cb469fa16570867728950e"
JSON_TYPE = "application/json"
BINARY: Mapping[str, str] = {"type": "string", "format": "binary"}
HEADER_DESCRIPTIONS: Mapping[str, str] = {
    names.REQUEST_ID: "Of this request; the one that the client sent, or a new one",
    names.MODEL: "Weights that gave the reply, as name@version+digest",
    names.DETECTOR: "The detector that ran in place of the model's own, as name@version+digest",
    names.INPUT_SHA256: "SHA-256 of the first picture as it was sent",
    names.EVIDENCE: "The evidence record, as base64url of JSON compressed by zlib; replies in JSON hold it instead",
    "Link": "Address of the evidence record, with `rel=describedby`; only where the gateway keeps records",
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

    `requests` are models of requests, in which fields with a default may be left out.
    """
    generate = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            added = definitions(*models, ProblemDetails, requests=requests)
            components["schemas"] = {**added, **components.get("schemas", {})}
            components["headers"] = {name: _header(name) for name in HEADER_DESCRIPTIONS}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def definitions(*models: type[BaseModel], requests: Iterable[type[BaseModel]] = ()) -> Json:
    """Returns the schemas of the models and of the models within them, by name."""
    wanted = [(model, "serialization") for model in models] + [(model, "validation") for model in requests]
    template = "#/components/schemas/{model}"
    found: Json = models_json_schema(wanted, ref_template=template)[1]["$defs"]  # type: ignore[arg-type]
    return found


def reference(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def header_references(*headers: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def problem_reply(description: str, *codes: Code) -> Json:
    """Returns the description of a reply with problem details, with an example for each code."""
    examples = {
        code.value: {"value": Problem(code, description).details(EXAMPLE_ID).model_dump(mode="json")} for code in codes
    }
    retried = any(STATUS[code] in _RETRIED for code in codes)
    content: Json = {"schema": reference(ProblemDetails), **({"examples": examples} if examples else {})}
    headers = (names.REQUEST_ID, "Retry-After") if retried else (names.REQUEST_ID,)
    return {"description": description, "headers": header_references(*headers), "content": {MEDIA_TYPE: content}}


def option_schemas(options: type[BaseModel]) -> Json:
    """Returns the schemas of options by name, as form fields and query parameters have them.

    Defaults and examples become words in the description: Swagger UI fills them in and generated clients send them,
    both as if a user had chosen them.
    """
    schema = inlined(options.model_json_schema())
    return {name: _option(each) for name, each in schema.get("properties", {}).items()}


def inlined(schema: Json) -> Json:
    """Returns the schema with its definitions in the places that refer to them."""
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
    if text := describe_with_default(schema.get("description"), schema.get("default")):
        described["description"] = text
    return described


def describe_with_default(description: str | None, default: Any) -> str:
    """Returns the description with the default value in words."""
    stated = [] if default is None or default == [] else [f"default: {str(default).lower()}"]
    return "; ".join([*([description.rstrip(".")] if description else []), *stated])


def _header(name: str) -> Json:
    return {"description": HEADER_DESCRIPTIONS[name], "schema": {"type": "string"}}
