"""The API reference in `docs/reference/`, which `make reference` writes from the gateway's OpenAPI document.

The pages are committed, so that they can be read where the code is hosted, and a site needs nothing but Markdown.
Renderers of OpenAPI for MkDocs load scripts from elsewhere or have no tables of defaults and ranges.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.gateway.app import create_app as create_gateway
from services.gateway.documentation.openapi import fleet_document
from services.gateway.settings import GatewaySettings
from sightline.api.declaration import route_of
from sightline.api.problems import MEDIA_TYPE, STATUS, Code
from sightline.cli.models import find_models, load_predictor
from sightline.client.errors import BY_CODE
from sightline.jobs.settings import JobSettings
from sightline.serving.app import create_app as create_service
from sightline.serving.settings import ServiceSettings

Json = Mapping[str, Any]

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
WRITTEN = "<!-- Written by `make reference`. Do not edit. -->"
MULTIPART = "multipart/form-data"
_DEFAULT = re.compile(r"(?:^|; )default: (.+)$", re.DOTALL)
_BOUNDS = (
    ("minimum", "maximum", "{}"),
    ("exclusiveMinimum", "exclusiveMaximum", "{} (excluded)"),
    ("minLength", "maxLength", "{} characters"),
    ("minItems", "maxItems", "{} of them"),
)

API_HEAD = """# API reference

Every route of the gateway, its fields and its replies. A running gateway has the same as an OpenAPI document under
`/openapi.json`, and with forms to try it under `/docs`. [Problem codes](problems.md) explains every error.

- Options are form fields, or query parameters of the same name. A bare picture as the request's body is enough where
  one picture is.
- A value of the column *Default* holds where an option is not sent.
- Each reply has `X-Request-Id`. The headers are explained [at the end](#headers).
- With API keys, each request carries `Authorization: Bearer KEY` or `X-Api-Key: KEY`; only the probes are open.
"""

MODELS_HEAD = """These headers and replies are the same for every model.
"""

# What happened, and what to do about it.
CAUSES: Mapping[Code, tuple[str, str]] = {
    Code.INVALID_REQUEST: (
        "An option, a field, a header or the form is wrong. `errors` or `field` names it.",
        "Correct the named field. The [API reference](api.md) has types and ranges.",
    ),
    Code.UNREADABLE_IMAGE: (
        "The picture is empty, damaged, cut off, or needs far more time or memory than others of its size.",
        "Open the file in a viewer. Fetch it again from its source, or save it anew as PNG.",
    ),
    Code.BAD_MASK: (
        "The mask is missing, cannot be read, has other proportions than the photo, covers all of it, or comes with "
        "`regions`; or the regions are not valid.",
        "Send one mask of the photo's size, white where the photo is to be filled, or `regions` alone.",
    ),
    Code.UNAUTHORIZED: (
        "The API key is missing or unknown; or the request went to a model's service instead of the gateway.",
        "Send `Authorization: Bearer KEY`, to the gateway. The operator has the keys.",
    ),
    Code.FORBIDDEN: (
        "The key does not allow this model (`models` lists those that it allows) or this priority.",
        "Use an allowed model, leave the priority out, or ask the operator for another key.",
    ),
    Code.CROSS_SITE: (
        "A web page of another site sent the request.",
        "The operator can allow the page's origin with `SIGHTLINE_CORS_ORIGINS`.",
    ),
    Code.NOT_FOUND: (
        "No such route, model or job; also a job that belongs to another key, or whose record has expired.",
        "Compare the address with the reference; `models` or `routes` lists those that exist.",
    ),
    Code.HOST_NOT_ALLOWED: (
        "The gateway was addressed by a name that it does not serve.",
        "Use its configured name, or have the operator add the name to `SIGHTLINE_ALLOWED_HOSTS`.",
    ),
    Code.METHOD_NOT_ALLOWED: ("The route has no such method.", "Use the method in the reference, mostly POST."),
    Code.NOT_ACCEPTABLE: (
        "`Accept` or `format` names no representation of this result.",
        "Send one of the media types in `offered`.",
    ),
    Code.NOT_FINISHED: (
        "The result of a job was requested before the job's end.",
        "Wait for `Retry-After` and ask again, or follow the job's events.",
    ),
    Code.KEY_IN_USE: (
        "The first request with this idempotency key is still being uploaded or processed.",
        "Follow the job in `Location` where there is one, or send the same request after `Retry-After`.",
    ),
    Code.KEY_REUSED: (
        "The idempotency key belongs to a request with other pictures or options.",
        "Send a new key with each new request.",
    ),
    Code.GONE: (
        "The job was cancelled, or its result has expired or was deleted.",
        "Send the request again; fetch results within their retention (a day by default).",
    ),
    Code.TOO_MANY_BYTES: (
        "The file or the request has more bytes than allowed; the reply names the limit.",
        "Send a smaller file. Between 64 and 256 MiB, `Content-Length` or `Prefer: respond-async` makes it a job.",
    ),
    Code.TOO_MANY_PIXELS: (
        "A picture, or all pictures of the request together, have more pixels than allowed; the reply names the limit.",
        "Reduce the picture, or send fewer pictures in a request.",
    ),
    Code.TOO_MANY_REQUESTS: (
        "The caller uses its whole share of the fleet: running requests, waiting jobs or stored bytes.",
        "Wait for `Retry-After`. Send fewer requests at once; fetch and delete finished jobs.",
    ),
    Code.HEADERS_TOO_LARGE: (
        "The headers or the query are too long.",
        "Send long options, such as `regions`, as form fields.",
    ),
    Code.REQUEST_TIMEOUT: (
        "The request's body arrived too slowly.",
        "Send it again on a faster connection, or send a smaller file.",
    ),
    Code.UNSUPPORTED_FORMAT: (
        "The file is no picture of a supported format, or the body has an unsupported type or `Content-Encoding`.",
        "Send JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF. Extract stills from films first.",
    ),
    Code.CANCELLED: ("The client closed the connection before the reply.", "Send the request again."),
    Code.INTERNAL: (
        "A fault of the service.",
        "Send the request again once. If it fails again, report it with its `request_id`.",
    ),
    Code.UPSTREAM_FAILED: (
        "The model's service broke off; or the job failed in all its attempts (`last_problem` has the last reason).",
        "Send the request again. If it fails again, report it with its `request_id`.",
    ),
    Code.OVERLOADED: (
        "The fleet is busy: too much work is queued.",
        "Wait for `Retry-After`, then send the same request; or send it as a job.",
    ),
    Code.NOT_READY: (
        "The model is starting or stopping, or none of its services can be reached.",
        "Wait for `Retry-After`. `/readyz` names the models that are ready.",
    ),
    Code.QUEUE_UNAVAILABLE: (
        "The queue of jobs cannot be reached, or the fleet runs without one.",
        "Wait for `Retry-After`. Without a queue, send the request synchronously.",
    ),
    Code.STORAGE_UNAVAILABLE: (
        "The storage of pictures is full or cannot be reached.",
        "Wait for `Retry-After`. The operator can make space.",
    ),
    Code.DEADLINE_EXCEEDED: (
        "The reply was not ready in time.",
        "Send the request as a job with `Prefer: respond-async`, or allow more time.",
    ),
}

PROBLEMS_HEAD = f"""# Problem codes

An error reply has the media type `{MEDIA_TYPE}` (RFC 9457). Rely on `code`, which never changes its meaning; show
`detail`, a sentence, to people; quote `request_id` to the operator. Further members are facts, such as a limit.

```json
{{
  "type": "urn:sightline:problem:too_many_pixels",
  "title": "Too many pixels",
  "status": 413,
  "code": "too_many_pixels",
  "detail": "The picture has 144000000 pixels; at most 120000000 are allowed.",
  "request_id": "0f8fad5bd9cb469fa16570867728950e",
  "pixels": 144000000,
  "max_pixels": 120000000
}}
```

Where *Repeat* says yes, the same request may succeed later: wait as many seconds as the header `Retry-After` says (one
second without it, twice as long each time), and repeat it with the same `Idempotency-Key`, so that it runs once. The
Python client does all of this by itself. The other codes need their remedy first.
"""


def load_document() -> dict[str, Any]:
    """Returns the OpenAPI document of a gateway of all models, without starting a process."""
    # A queue's address is enough for the document: nothing connects to it.
    settings = ServiceSettings()
    services = {
        name: create_service(load_predictor(name, settings), settings, jobs=JobSettings(redis_url=None)).openapi()
        for name in find_models()
    }
    gateway = create_gateway(GatewaySettings(upstreams={name: ["http://127.0.0.1:1"] for name in services}))
    return fleet_document(gateway, services, needs_key=False)


def render_problems() -> str:
    """The page of all problem codes with status, cause and remedy."""
    rows = [
        (
            f'<a id="{code}"></a>`{code}`',
            f"{int(STATUS[code])}",
            cause,
            remedy,
            *_in_python(code),
        )
        for code, (cause, remedy) in sorted(CAUSES.items(), key=lambda item: STATUS[item[0]])
    ]
    return "\n".join([WRITTEN, "", PROBLEMS_HEAD, *_table("Code|Status|Cause|Remedy|Repeat|Python class", rows), ""])


def _in_python(code: Code) -> tuple[str, str]:
    """Returns whether the client repeats the request, and the class of its error."""
    error = BY_CODE[code]
    return "yes" if error("").is_temporary else "no", f"`{error.__name__}`"


def render_api(document: Json) -> str:
    """The page of all routes, schemas and headers."""
    about = {tag["name"]: tag["description"] for tag in document["tags"]}
    common = _common([document["paths"][route_of(name)]["post"] for name in about])
    lines = [WRITTEN, "", API_HEAD, "## Every model", "", MODELS_HEAD, *_operation_tables(common)]
    for tag, routes in _by_tag(document).items():
        # A tag of a model has one route, whose summary is the model's title.
        lines += [f"## {routes[0][2]['summary'] if tag in about else _sentence(tag)}", ""]
        for method, path, operation in routes:
            lines += [f"### {method} {path}", ""]
            lines += [about[tag] if tag in about else _about(operation), ""]
            lines += _operation_tables(_without(operation, common) if tag in about else operation)
    return "\n".join([*lines, *_schemas(document["components"]), *_headers(document["components"])])


def _about(operation: Json) -> str:
    return "\n\n".join(filter(None, (f"{operation['summary']}.", operation.get("description"))))


def _common(operations: Sequence[Json]) -> dict[str, Any]:
    """Returns the parameters and replies that all operations have alike."""
    first, *others = operations
    return {
        "parameters": [each for each in first["parameters"] if all(each in other["parameters"] for other in others)],
        "responses": dict(
            item for item in first["responses"].items() if all(item in other["responses"].items() for other in others)
        ),
    }


def _without(operation: Json, common: Json) -> dict[str, Any]:
    return {
        **operation,
        "parameters": [each for each in operation["parameters"] if each not in common["parameters"]],
        "responses": {key: each for key, each in operation["responses"].items() if key not in common["responses"]},
    }


def _by_tag(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    """Returns the operations by tag: models first, as most readers look for these."""
    found: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            found.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    return found


def _operation_tables(operation: Json) -> Iterator[str]:
    parameters = operation.get("parameters", [])
    fields = _form_fields(operation)
    yield from _section("Fields of the form", _fields(fields))
    yield from _json_body(operation)
    # Each option of a form is a query parameter too.
    others = [each for each in parameters if each["in"] != "query" or each["name"] not in fields.get("properties", {})]
    for place in ("path", "query", "header"):
        rows = [_row(each["name"], each, required=each["required"]) for each in others if each["in"] == place]
        yield from _section(f"{place.capitalize()} parameters", rows)
    yield from _table("Status|Meaning|Body|Headers", [_reply(*each) for each in _in_order(operation["responses"])])
    yield ""


def _form_fields(operation: Json) -> Json:
    schema: Json = operation.get("requestBody", {}).get("content", {}).get(MULTIPART, {}).get("schema", {})
    return schema


def _json_body(operation: Json) -> Iterator[str]:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema:
        yield from (f"Body: JSON, {_type(schema)}.", "")


def _fields(schema: Json) -> list[tuple[str, ...]]:
    required = schema.get("required", ())
    return [_row(name, each, required=name in required) for name, each in schema.get("properties", {}).items()]


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield from (f"{title}:", "", *_table("Name|Type|Default|Meaning", rows), "")


def _row(name: str, described: Json, *, required: bool) -> tuple[str, ...]:
    schema = described.get("schema", described)
    text = str(described.get("description") or schema.get("description") or "")
    default = _DEFAULT.search(text)
    given = default[1] if default else "required" if required else schema.get("default")
    return f"`{name}`", _type(schema), "" if given is None else str(given), _DEFAULT.sub("", text)


def _type(schema: Json) -> str:
    return ", ".join(
        [_kind(schema), *_bounds(schema), *([f"pattern `{schema['pattern']}`"] if "pattern" in schema else [])]
    )


def _bounds(schema: Json) -> Iterator[str]:
    for least, most, text in _BOUNDS:
        match schema.get(least), schema.get(most):
            case None, None:
                continue
            case low, None:
                yield text.format(f"at least {low}")
            case None, high:
                yield text.format(f"at most {high}")
            case low, high:
                yield text.format(f"{low}" if low == high else f"{low} to {high}")


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(map(_type, alternatives)))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return f"object with values of {_type(schema['additionalProperties'])}"
        case None:
            return "any"
        case "string" if schema.get("format") == "binary":
            return "file"
        case "string" if "format" in schema:
            return str(schema["format"])
        case kind:
            return str(kind)


def _in_order(responses: Json) -> list[tuple[str, Json]]:
    return sorted(responses.items(), key=lambda item: item[0].replace("default", "999"))


def _reply(status: str, reply: Json) -> tuple[str, ...]:
    bodies, content = [], reply.get("content", {})
    for media_type, body in content.items():
        schema = body.get("schema", {})
        linked = _type(schema) if "$ref" in str(schema) else ""
        bodies.append(f"`{media_type}`" + (f": {linked}" if linked and media_type != MEDIA_TYPE else ""))
    codes = [f"[`{code}`](problems.md#{code})" for code in content.get(MEDIA_TYPE, {}).get("examples", {})]
    shown = ", ".join(codes) if codes else "<br>".join(bodies)
    headers = ", ".join(f"`{name}`" for name in reply.get("headers", {}) if name != "X-Request-Id")
    return "other" if status == "default" else status, reply["description"], shown, headers


def _schemas(components: Json) -> Iterator[str]:
    yield from ("## Objects", "")
    for name, schema in sorted(components["schemas"].items()):
        yield from (f"### {name}", "")
        if text := schema.get("description"):
            yield from (text, "")
        # Most objects are replies, for which a column of required members says nothing.
        if rows := _fields({**schema, "required": ()}):
            required = schema.get("required", ())
            plain = [
                (each, kind, "" if each.strip("`") in required else given, text) for each, kind, given, text in rows
            ]
            yield from (*_table("Name|Type|Default|Meaning", plain), "")
        else:
            yield from (f"{_type(schema)}.", "")


def _headers(components: Json) -> Iterator[str]:
    yield from ("## Headers", "")
    yield from _table(
        "Header|Meaning", [(f"`{name}`", each["description"]) for name, each in components["headers"].items()]
    )
    yield ""


def _table(heads: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {heads.replace('|', ' | ')} |"
    yield "|---" * (heads.count("|") + 1) + "|"
    for row in rows:
        yield "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |"


def _sentence(tag: str) -> str:
    return tag[:1].upper() + tag[1:]


def render_pages() -> dict[Path, str]:
    """The texts of all pages by file."""
    return {FOLDER / "api.md": render_api(load_document()), FOLDER / "problems.md": render_problems()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in render_pages().items():
        file.write_text(text, "utf-8")
