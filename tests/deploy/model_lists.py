"""The files that list every model, compared with the models' declarations."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sightline.api.declaration import ModelDeclaration
from sightline.api.media_types import BY_SUFFIX


@dataclass(frozen=True, slots=True)
class ModelList:
    """A file with an entry for each model; `names` finds the entries, named as in routes."""

    file: str
    entry: str
    names: Callable[[str], Iterable[str]]


def missing_entries(root: Path, declarations: Sequence[ModelDeclaration[Any]]) -> list[str]:
    """A sentence for each entry that a file below `root` lacks or has without a model."""
    return [
        *(fault for each in LISTS for fault in _compare(root, each, declarations)),
        *(fault for each in declarations for fault in _missing_files(root, each)),
        *(fault for each in declarations for fault in _missing_media_types(root, each)),
    ]


def _compare(root: Path, listed: ModelList, declarations: Iterable[ModelDeclaration[Any]]) -> Iterable[str]:
    found = set(listed.names((root / listed.file).read_text("utf-8")))
    wanted = {_route_name(each) for each in declarations}
    yield from (f"{listed.file} lacks {name}: add it to {listed.entry}" for name in sorted(wanted - found))
    yield from (f"{listed.file} has {name}, which is no model: remove it" for name in sorted(found - wanted))


def _missing_files(root: Path, declaration: ModelDeclaration[Any]) -> Iterable[str]:
    folder = root / "services" / declaration.name
    if not (folder / "MODEL_CARD.md").is_file():
        yield f"services/{declaration.name} lacks MODEL_CARD.md"
    if not any((folder / "weights").glob("*.toml")):
        yield f"services/{declaration.name}/weights lacks the contract of its ONNX file"
    described = (root / "samples" / "README.md").read_text("utf-8")
    for file in declaration.samples.values():
        if not (root / "samples" / file).is_file() or f"`{file}`" not in described:
            yield f"samples lacks {file}, or samples/README.md its origin; {declaration.name} declares it"


def _missing_media_types(root: Path, declaration: ModelDeclaration[Any]) -> Iterable[str]:
    console = (root / "services" / "gateway" / "console" / "console.js").read_text("utf-8")
    for media_type in set(declaration.media_types) - set(BY_SUFFIX.values()):
        yield f"shared/sightline/api/media_types.py lacks {media_type}, which {declaration.name} declares"
    for media_type in {*declaration.console.replies, *declaration.console.downloads.values()} - {"application/json"}:
        if f'"{media_type}":' not in console:
            yield f"services/gateway/console/console.js lacks {media_type} in ENDINGS"


def _route_name(declaration: ModelDeclaration[Any]) -> str:
    return declaration.route.removeprefix("/v1/")


def _profiles(text: str) -> Iterable[str]:
    (profiles,) = re.findall(r"^COMPOSE_PROFILES=(.*)$", text, re.MULTILINE)
    return str(profiles).split(",")


def _built_services(text: str) -> Iterable[str]:
    for name, service in yaml.safe_load(text)["services"].items():
        if service.get("profiles") == [name] and service["build"]["args"]["SERVICE"] == name.replace("-", "_"):
            yield name


def _other_services(text: str) -> Iterable[str]:
    return set(yaml.safe_load(text)["services"]) - {"gateway", "prometheus"}


def _enabled_models(text: str) -> Iterable[str]:
    return [name for name, model in yaml.safe_load(text)["models"].items() if model.get("enabled", True)]


def _views(text: str) -> Iterable[str]:
    names = re.findall(r'^  ("\w+"): \{', text, re.MULTILINE)
    return [json.loads(name).replace("_", "-") for name in names]


def _image_rows(text: str) -> Iterable[str]:
    rows = re.findall(r"^\| ([\w, -]+) \(CPU\) \| \d+ MB \|$", text, re.MULTILINE)
    return [name for row in rows for name in row.split(", ")]


def _documented_routes(text: str) -> list[str]:
    return re.findall(r"^### POST /v1/([\w-]+)$", text, re.MULTILINE)


LISTS = (
    ModelList(".env", "COMPOSE_PROFILES", _profiles),
    ModelList("docker-compose.yml", "services", _built_services),
    ModelList("deploy/docker-compose.gpu.yml", "services", _other_services),
    ModelList("deploy/docker-compose.weights.yml", "services", _other_services),
    ModelList("deploy/docker-compose.evidence.yml", "services", _other_services),
    ModelList("tests/stack/docker-compose.test.yml", "services", _other_services),
    ModelList("deploy/helm/sightline/values.yaml", "models", _enabled_models),
    ModelList("deploy/capacity.py", "MODELS", lambda text: re.findall(r'^ +ModelCost\("([\w-]+)"', text, re.MULTILINE)),
    ModelList("services/gateway/console/views.js", "VIEWS (make console)", _views),
    ModelList("docs/reference/api.md", "its route (make reference)", _documented_routes),
    ModelList("docs/operations.md", "the table of images", _image_rows),
)
