import ast
import hashlib
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sightline import __version__
from sightline.inference.weights import load_weights

ROOT = Path(__file__).parents[1]
LOCKS = ("cpu", "gpu", "dev", "docs", "sbom")
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.MULTILINE)
MODELS = sorted(file.parent for file in (ROOT / "services").glob("*/predictor.py"))
MODULES = [
    module.relative_to(ROOT)
    for folder in ("shared/sightline", "services")
    for module in sorted((ROOT / folder).rglob("*.py"))
    if not module.stem.startswith("__")
]
# Modules of constants, settings and schemas are checked by the tests of their users.
DECLARATIONS = ("api/headers.py", "api/media_types.py", "api/screening.py", "config.py", "schemas.py", "settings.py")
# Modules whose behaviour shows only through another module, by the tests of that module.
ELSEWHERE = {
    "cli/batch/test_command.py": "cli/batch/run cli/batch/predictors cli/batch/ray_data",
    "cli/screening/test_command.py": "cli/screening/run cli/local_model",
    "cli/test_jobs.py": "cli/job_tables",
    "cli/test_main.py": "cli/app",
    "cli/test_supervisor.py": "cli/parent_death",
    "cli/test_training.py": "training/hdr_correct/jobs training/inpaint/jobs",
    "cli/weights/test_command.py": "cli/weights/checks cli/weights/consent cli/weights/installation cli/weights/store "
    "inference/catalogue/installed",
    "cli/weights/test_download.py": "cli/weights/part_file",
    "client/test_client.py": "client/async_client client/connection client/errors client/operations",
    "client/test_fleet.py": "client/requests client/results",
    "http/transport/test_connections.py": "http/transport/protocol",
    "imaging/codecs/test_heif.py": "imaging/containers/heif imaging/containers/heif_items",
    "imaging/codecs/test_truncated_files.py": "imaging/codecs/jpeg imaging/codecs/png imaging/containers/jpeg_scans",
    "imaging/colour_spaces/test_tag_conversion.py": "imaging/colour_spaces/tags",
    "imaging/decoder/test_in_process.py": "imaging/picture",
    "imaging/decoder/test_pool.py": "imaging/decoder/fork_server",
    "imaging/test_encoder.py": "imaging/codecs/pillow",
    "imaging/test_file_types.py": "imaging/formats imaging/containers/webp",
    "inference/test_pipeline.py": "inference/predictor",
    "networks/test_drht.py": "networks/normalization",
    "services/gateway/jobs/test_routes.py": "services/gateway/jobs/results",
    "services/gateway/test_app.py": "services/gateway/pages",
    "services/gateway/test_tracing.py": "runtime/tracing",
    "services/hdr_correct/test_rendering.py": "imaging/hdr_encoder",
    "services/hoi/test_app.py": "services/hoi/rendering services/hoi/results",
    "services/hra_screening/test_predictor.py": "services/hra_screening/preprocessing",
    "services/inpaint/test_app.py": "services/inpaint/rendering services/inpaint/result",
    "services/inpaint/test_predictor.py": "services/inpaint/compositing/paste",
    "serving/test_app.py": "serving/predict_route",
    "serving/v2/test_codec.py": "serving/v2/json_tensors",
    "serving/v2/test_routes.py": "serving/v2/metadata",
    "serving/worker/test_consumer.py": "serving/worker/setup",
    "training/test_served_model.py": "inference/local_model",
    "training/hdr_correct/test_scene_evaluation.py": "training/hdr_correct/correctors",
    "training/hdr_correct/test_train.py": "training/hdr_correct/export",
    "training/hoi/test_datasets.py": "training/hoi/annotations",
    "training/hoi/test_train.py": (
        "networks/interactnet training/export training/hoi/batches training/hoi/branch_examples "
        "training/hoi/branch_training training/hoi/evaluation training/hoi/export training/hoi/jobs "
        "training/hoi/losses training/hoi/model training/hoi/predictions"
    ),
    "training/hra_screening/test_training.py": (
        "training/hra_screening/calibration training/hra_screening/candidates training/hra_screening/evaluate "
        "training/hra_screening/export training/hra_screening/features training/hra_screening/fitting "
        "training/hra_screening/heads training/hra_screening/jobs training/hra_screening/train"
    ),
    "training/inpaint/test_export.py": "training/inpaint/fillers",
    "training/svbrdf/test_evaluate.py": "training/svbrdf/estimators",
    "training/svbrdf/test_materials.py": "training/svbrdf/procedural/hard training/svbrdf/procedural/soft",
    "training/svbrdf/test_train.py": "training/svbrdf/export training/svbrdf/jobs training/svbrdf/validation",
}
TESTED_ELSEWHERE = {
    Path(f"{name}.py") if name.startswith("services/") else Path("shared/sightline", f"{name}.py")
    for names in ELSEWHERE.values()
    for name in names.split()
}
# Metaphors that named modules and classes before; readers search for the standard terms.
OLD_WORDS = frozenset(
    (
        "answering",
        "asker",
        "consuming",
        "desk",
        "eye",
        "fate",
        "gallery",
        "intake",
        "janitor",
        "job_desk",
        "keeper",
        "landmark",
        "lesson",
        "looking",
        "outages",
        "outbox",
        "patiently",
        "peek",
        "question",
        "sighting",
        "solo",
        "standing",
        "tether",
        "there",
        "tickets",
        "told",
        "upkeep",
        "visit",
        "watcher",
        "wire",
        "wish",
        "workshop",
    )
)
OLD_BOUND = re.compile(r"_?(MOST|LEAST|FEWEST)_")


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def required(*extras: str) -> list[Requirement]:
    lines = project()["dependencies"] + [line for extra in extras for line in project()["optional-dependencies"][extra]]
    # The client is built from this checkout, so no lock has it.
    return [requirement for requirement in map(Requirement, lines) if requirement.name != "sightline"]


def pinned(lock: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / "locks" / f"{lock}.txt").read_text()))


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_no_host_and_no_local_path(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert not re.search(r"://|--index|--find-links|\s/[a-z]+/", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    names = re.findall(r"^[a-z0-9][^ =]*", text, re.MULTILINE)
    assert names == list(pinned(lock))
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:])


@pytest.mark.parametrize(("lock", "extras"), [("cpu", ["cpu"]), ("gpu", ["gpu"]), ("dev", ["cpu", "dev", "train"])])
def test_lock_satisfies_project_requirements(lock: str, extras: list[str]) -> None:
    pins = pinned(lock)
    for requirement in required(*extras):
        if requirement.name not in ("torch", "torchvision"):  # installed outside the lock
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement.name


def test_gpu_and_cpu_locks_differ_only_in_runtime() -> None:
    cpu, gpu = pinned("cpu"), pinned("gpu")
    assert {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} == set()
    assert cpu.keys() - gpu.keys() == {"onnxruntime"}


def test_dev_lock_contains_deployed_versions() -> None:
    assert pinned("cpu").items() <= pinned("dev").items()


def test_docs_lock_agrees_with_dev_lock() -> None:
    dev, docs = pinned("dev"), pinned("docs")
    assert {name for name in dev.keys() & docs.keys() if dev[name] != docs[name]} == set()


def test_runtime_has_one_onnx_runtime_and_no_torch() -> None:
    for extra, runtime in {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}.items():
        names = {requirement.name for requirement in required(extra)}
        assert {name for name in names if name.startswith("onnxruntime")} == {runtime}
        assert not names & {"torch", "torchvision", "onnx", "scikit-image"}
    assert not {"torch", "onnx", "scikit-image"} & set(pinned("cpu"))


@pytest.mark.parametrize("requirement", required("cpu", "gpu", "train", "dev"), ids=lambda each: each.name)
def test_every_dependency_has_a_version_range(requirement: Requirement) -> None:
    assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_model_has_card_weights_and_contract(folder: Path) -> None:
    assert (folder / "MODEL_CARD.md").read_text().strip()
    assert (folder / "app.py").is_file()
    contracts = [*(folder / "weights").glob("*.toml")]
    assert contracts
    assert all(load_weights(each.with_suffix(".onnx"), each, shipped=True).verified for each in contracts)


def test_licence_is_verbatim_apache_2() -> None:
    words = " ".join((ROOT / "LICENSE").read_text().split())
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"
    )


def test_changelog_lists_current_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("target", ["up", "down", "test", "lint", "evaluate", "bench", "wheels", "docs"])
def test_make_help_lists_target(target: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^make {target} +\w", listed, re.MULTILINE)


def mirrored_test(module: Path) -> Path:
    """Returns the test file that a module has by default."""
    inside = module.relative_to("shared/sightline") if module.parts[0] == "shared" else module
    return Path("tests", inside).with_name(f"test_{module.name}")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_has_its_test_file(module: Path) -> None:
    declares_only = any(module.match(pattern) for pattern in DECLARATIONS)
    assert (ROOT / mirrored_test(module)).is_file() or module in TESTED_ELSEWHERE or declares_only


def test_exceptions_name_existing_tests_of_modules_without_their_own() -> None:
    assert [test for test in ELSEWHERE if not (ROOT / "tests" / test).is_file()] == []
    assert [module for module in TESTED_ELSEWHERE if (ROOT / mirrored_test(module)).is_file()] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_uses_current_vocabulary(module: Path) -> None:
    tree = ast.parse((ROOT / module).read_text())
    classes = {node.name.lower() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert not ({module.stem, *classes} & OLD_WORDS)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not {name for name in names if OLD_BOUND.match(name)}
