"""Merges the services' OpenAPI documents into the gateway's own."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.gateway.auth.api_keys import OPEN_PATHS
from services.gateway.documentation.jobs import INVALID_REPLIES, document_jobs
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.upstream.health_poller import Document, ModelCatalog
from sightline.api import headers as names
from sightline.api.declaration import route_of
from sightline.api.problems import Code
from sightline.http.openapi import describe_with_default, document_components, header_references, problem_reply

MAX_PREFIXES = 8

_SECTIONS = ("schemas", "responses", "parameters", "examples", "requestBodies", "headers")
_SHARED = ("/v1/models/{model}/", "/v2/models/{model}")  # paths that every service has for its model
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Generated clients name their types by these: they stay when the classes are renamed.
_PUBLISHED_SCHEMAS = {"JobState": "State", "JobReason": "Reason", "DeliveryStatus": "Fate"}
_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")
_FASTAPI_PROBLEM = {"$ref": "#/components/schemas/HTTPValidationError"}
_KEY_DESCRIPTION = "Needed where the operator has configured keys."
_KEY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": _KEY_DESCRIPTION},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": _KEY_DESCRIPTION},
}
_UNAUTHORIZED = problem_reply("The key is missing or not known.", Code.UNAUTHORIZED)
_FORBIDDEN = problem_reply("The key does not allow this, or a page of another site sent it.", Code.FORBIDDEN)
_NOT_FOUND = problem_reply("There is nothing of this name.", Code.NOT_FOUND)
_TOO_LARGE = problem_reply("The request has too many bytes; the limit is named.", Code.TOO_MANY_BYTES)
_TOO_MANY = problem_reply(
    "The caller's share is used up; `Retry-After` says when to come again.", Code.TOO_MANY_REQUESTS
)


def add_openapi(app: FastAPI, catalog: ModelCatalog, *, needs_key: bool) -> None:
    """Serves the merged document; it is rebuilt when a service has published a new one."""
    document_components(app)
    revision, document = -1, dict[str, Any]()
    replies: dict[str, JSONResponse] = {}

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> JSONResponse:
        nonlocal revision, document
        if revision != catalog.revision:
            revision, document = catalog.revision, fleet_document(app, catalog.documents, needs_key=needs_key)
            replies.clear()
        prefix = public_prefix(request.scope)
        if prefix not in replies:
            # A proxy uses few prefixes, but one that forwards clients' own X-Forwarded-Prefix must not fill the memory.
            if len(replies) >= MAX_PREFIXES:
                replies.clear()
            replies[prefix] = JSONResponse(_with_server(document, prefix))
        return replies[prefix]


def fleet_document(app: FastAPI, services: Mapping[str, Document], *, needs_key: bool) -> dict[str, Any]:
    """Returns the gateway's document merged with those of the models' services."""
    merged = document_jobs(merge(_with_published_names(app.openapi()), services), services)
    return with_common_replies(merged, list(services), needs_key=needs_key)


def _with_published_names(document: Document) -> dict[str, Any]:
    renames = {_ref("schemas", name): _ref("schemas", published) for name, published in _PUBLISHED_SCHEMAS.items()}
    return _renamed(document, renames)


def _with_server(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**document, "servers": [{"url": prefix}]} if prefix else document


def with_common_replies(document: Document, models: Sequence[str], *, needs_key: bool) -> dict[str, Any]:
    """Adds the problems that any route may reply with, the key schemes and the request id header."""
    describe = partial(_with_common, models=models, needs_key=needs_key)
    paths = {
        path: {key: describe(each, path) if key in _METHODS else each for key, each in item.items()}
        for path, item in document["paths"].items()
    }
    given = document["components"]
    schemas = {name: schema for name, schema in given.get("schemas", {}).items() if name not in _UNUSED_SCHEMAS}
    components = {**given, "schemas": schemas, "securitySchemes": _KEY_SCHEMES}
    security: dict[str, Any] = {"security": [{name: []} for name in _KEY_SCHEMES]} if needs_key else {}
    return {**document, "paths": paths, "components": components, **security}


def _with_common(operation: Document, path: str, models: Sequence[str], *, needs_key: bool) -> dict[str, Any]:
    # FastAPI documents 422 for invalid requests; the gateway replies with 400 problem details.
    own = {
        status: reply
        for status, reply in operation["responses"].items()
        if reply.get("content", {}).get("application/json", {}).get("schema") != _FASTAPI_PROBLEM
    }
    replies = {**_common_replies(operation, path), **own}
    described = {**operation, "responses": {status: _with_request_id(reply) for status, reply in replies.items()}}
    if parameters := [_parameter(each, models) for each in operation.get("parameters", [])]:
        described["parameters"] = parameters
    if needs_key and path in OPEN_PATHS:
        described["security"] = []
    return described


def _common_replies(operation: Document, path: str) -> dict[str, Any]:
    replies = {"default": problem_reply("Any other problem")}
    if operation.get("parameters") or "requestBody" in operation:
        replies["400"] = INVALID_REPLIES[400]
    if path not in OPEN_PATHS:
        replies |= {"401": _UNAUTHORIZED, "403": _FORBIDDEN, "429": _TOO_MANY}
    if "{" in path:
        replies["404"] = _NOT_FOUND
    if "requestBody" in operation:
        replies["413"] = _TOO_LARGE
    return replies


def _with_request_id(reply: Document) -> dict[str, Any]:
    return {**reply, "headers": {**header_references(names.REQUEST_ID), **reply.get("headers", {})}}


def _parameter(parameter: Document, models: Sequence[str]) -> dict[str, Any]:
    """Marks query parameters as allowed without a value, and lists the fleet's models for a path's model.

    A default moves from the schema into the description, because Swagger UI would send it.
    """
    if parameter["in"] == "query":
        schema = {name: each for name, each in parameter["schema"].items() if name != "default"}
        description = describe_with_default(parameter.get("description"), parameter["schema"].get("default"))
        described = {**parameter, "schema": schema, **({"description": description} if description else {})}
        return {**described, "allowEmptyValue": True}
    if (parameter["in"], parameter["name"]) == ("path", "model") and models:
        return {**parameter, "schema": {"type": "string", "enum": list(models)}}
    return dict(parameter)


def merge(own: Document, services: Mapping[str, Document]) -> dict[str, Any]:
    """Returns the gateway's document with each model's own paths, and the paths that all models share once.

    Components that two services define alike are shared; where they differ, the later model's is renamed.
    """
    merged: dict[str, Any] = {**own, "paths": dict(own.get("paths", {})), "tags": list(own.get("tags", []))}
    components = {section: dict(own.get("components", {}).get(section, {})) for section in _SECTIONS}
    for model, document in services.items():
        document = _excerpt(document, model)
        document = _renamed(document, _conflicts(components, document, model))
        for section, entries in document["components"].items():
            components[section] |= entries
        for path, item in document["paths"].items():
            merged["paths"].setdefault(path, _tagged(item, model) if _is_own(path, model) else item)
        merged["tags"].append(_tag(document, model))
    merged["components"] = {section: entries for section, entries in components.items() if entries}
    return merged


def _excerpt(document: Document, model: str) -> dict[str, Any]:
    """Returns the paths that the gateway forwards, and the components that they refer to."""
    paths = {
        path: item
        for path, item in document.get("paths", {}).items()
        if _is_own(path, model) or path.startswith(_SHARED)
    }
    given = document.get("components", {})
    referred: set[str] = set()
    found = set(_references(paths))
    while found:
        referred |= found
        targets = [given.get(section, {}).get(name) for section, name in map(_target, found)]
        found = set(_references(targets)) - referred
    components = {
        section: {name: entry for name, entry in given.get(section, {}).items() if _ref(section, name) in referred}
        for section in _SECTIONS
    }
    return {"info": document.get("info", {}), "paths": paths, "components": components}


def _is_own(path: str, model: str) -> bool:
    route = route_of(model)
    return path == route or path.startswith(f"{route}/")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("#/components/"):
        yield value
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for child in children:
        yield from _references(child)


def _target(reference: str) -> tuple[str, str]:
    section, _, name = reference.removeprefix("#/components/").partition("/")
    return section, name


def _tagged(item: Document, model: str) -> dict[str, Any]:
    return {
        key: {**value, "tags": [model], "operationId": _operation_id(value, key, model)} if key in _METHODS else value
        for key, value in item.items()
    }


def _operation_id(operation: Document, method: str, model: str) -> str:
    given = str(operation.get("operationId", method))
    return given if model in given else f"{model}_{given}"


def _tag(document: Document, model: str) -> dict[str, str]:
    info = document.get("info", {})
    return {"name": model, "description": str(info.get("description") or info.get("title") or model)}


def _conflicts(components: Mapping[str, Document], document: Document, model: str) -> dict[str, str]:
    """Maps old to new `$ref` for the components whose name already stands for something else.

    A component that refers to a renamed one changes too and may conflict in turn, so this repeats until none is found.
    """
    renames: dict[str, str] = {}
    while True:
        renamed = _renamed(document, renames)
        found = {
            _ref(section, name): _ref(section, f"{model}_{name}")
            for section in _SECTIONS
            for name, component in renamed.get("components", {}).get(section, {}).items()
            if _comparable(components[section].get(name, component)) != _comparable(component)
        }
        if not found:
            return renames
        renames |= found


def _comparable(component: Any) -> Any:
    """Returns a component without defaults of null, which FastAPI leaves out of the gateway's own document."""
    if isinstance(component, Mapping):
        kept = (entry for entry in component.items() if entry != ("default", None))
        return {key: _comparable(value) for key, value in kept}
    return [_comparable(value) for value in component] if isinstance(component, list) else component


def _ref(section: str, name: str) -> str:
    return f"#/components/{section}/{name}"


def _renamed(document: Document, renames: Mapping[str, str]) -> dict[str, Any]:
    if not renames:
        return dict(document)
    rewritten: dict[str, Any] = _rewrite(document, renames)
    for section, entries in rewritten.get("components", {}).items():
        rewritten["components"][section] = {
            renames.get(_ref(section, name), name).rpartition("/")[2]: entry for name, entry in entries.items()
        }
    return rewritten


def _rewrite(value: Any, renames: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _rewrite_entry(key, entry, renames) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rewrite(entry, renames) for entry in value]
    return value


def _rewrite_entry(key: str, entry: Any, renames: Mapping[str, str]) -> Any:
    if key == "$ref" and isinstance(entry, str):
        return renames.get(entry, entry)
    if key == "mapping" and isinstance(entry, Mapping):
        # A discriminator's values are references too.
        return {name: renames.get(ref, ref) if isinstance(ref, str) else ref for name, ref in entry.items()}
    return _rewrite(entry, renames)
