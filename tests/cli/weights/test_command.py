"""`sightline weights` with a small graph that has the tensors of the public LaMa export, but is not LaMa."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from starlette.types import ASGIApp
from typer.testing import CliRunner

from sightline.cli.app import build_app
from sightline.cli.fleet import free_port, plan_fleet
from sightline.inference.catalogue.entries import CATALOGUE_FILE, CONTRACTS_FOLDER
from sightline.inference.catalogue.installed import WeightsFolder
from sightline.inference.contract import ContractError
from sightline.serving.settings import ServiceSettings
from tests.cli.conftest import SAMPLES
from tests.cli.weights.file_server import FileServer, file_server
from tests.services.prediction import ready_client

ENTRY = """
[{name}]
title = "A graph with the tensors of LaMa"
model = "inpaint"
file = "graph.onnx"
sources = ["{url}"]
licence = "Apache-2.0"
licence_url = "https://www.apache.org/licenses/LICENSE-2.0"
contract = "lama.toml"
{rest}
"""
SHARED_PICODET = Path(__file__).parents[4] / "shared" / "data" / "hoi" / "weights" / "picodet_s_416.onnx"
Run = Callable[..., str]


class CommandFailedError(Exception):
    """The command ended with another code than 0; its output is the message."""


def lama_like_graph(factor: float = 200.0) -> bytes:
    """The picture in 0..1 times `factor`, at holes and elsewhere."""
    tensor = helper.make_tensor_value_info
    inputs = [tensor("image", TensorProto.FLOAT, [1, 3, 512, 512]), tensor("mask", TensorProto.FLOAT, [1, 1, 512, 512])]
    nodes = [
        helper.make_node("Mul", ["mask", "nothing"], ["no_mask"]),
        helper.make_node("Mul", ["image", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "no_mask"], ["output"]),
    ]
    constants = [
        helper.make_tensor("factor", TensorProto.FLOAT, [], [factor]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
    ]
    outputs = [tensor("output", TensorProto.FLOAT, [1, 3, 512, 512])]
    graph = helper.make_graph(nodes, "lama_like", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


GRAPH = lama_like_graph()
DIGEST = hashlib.sha256(GRAPH).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(GRAPH) as server:
        yield server


@pytest.fixture
def catalogue(tmp_path: Path, server: FileServer) -> Path:
    """A catalogue of entries that differ in what is known of their digest."""
    (tmp_path / CONTRACTS_FOLDER).symlink_to(CATALOGUE_FILE.with_name(CONTRACTS_FOLDER))
    size = f"size_bytes = {len(GRAPH)}\n"
    rests = {
        "verified": f'{size}sha256 = "{DIGEST}"',
        "wrong": f'{size}sha256 = "{"0" * 64}"',
        "published": f'{size}published_sha256 = "{DIGEST}"',
        "prefixed": f'{size}sha256_prefix = "{DIGEST[:8]}"',
        "unknown": f"about_bytes = {len(GRAPH) + 7}",
        "restricted": f'{size}sha256 = "{DIGEST}"\nterms = "Not on Sundays."',
    }
    file = tmp_path / "own.toml"
    file.write_text("".join(ENTRY.format(name=name, url=server.url, rest=rest) for name, rest in rests.items()))
    return file


@pytest.fixture
def run(state: Path, catalogue: Path) -> Run:
    """Runs `sightline weights`; returns its output, or raises CommandFailedError with it."""

    def run(action: str, *arguments: object) -> str:
        own = () if action == "use" else ("--catalogue", catalogue)
        command = ["weights", action, *arguments, "--state", state, *own]
        result = CliRunner().invoke(build_app(), [str(each) for each in command])
        if result.exit_code:
            fault = "" if isinstance(result.exception, SystemExit) else str(result.exception)
            raise CommandFailedError(result.output + fault)
        return result.output

    return run


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_list_shows_licence_digest_and_quality(run: Run) -> None:
    listed = run("list")
    assert "picodet-s-416 (not installed)" in listed
    assert "Apache-2.0, with restrictive terms" in listed
    assert "not measured here" in listed
    facts = {each["name"]: each for each in json.loads(run("list", "--json"))}
    assert facts["verified"]["digest"] == "verified here"
    assert facts["unknown"]["digest"] == "not verified here"
    assert facts["picodet-s-416"]["stage"] == "detection"


def test_get_installs_what_a_service_then_loads(run: Run, state: Path) -> None:
    said = run("get", "verified")
    assert "the sample picture ran" in said
    folder = WeightsFolder(state / "weights")
    assert folder.require("verified").path.read_bytes() == GRAPH
    settings = ServiceSettings.model_validate({"weights": "catalogue:verified", "weights_folder": folder.path})
    assert (settings.weights, settings.catalogue_entry) == (folder.path / "verified" / "graph.onnx", "verified")
    assert f'"graph.onnx" = "{DIGEST}"' in folder.require("verified").contract_path.read_text()
    assert [path.name for path in (folder.path / ".incoming").iterdir()] == ["lock"]
    # Containers read the files as another user.
    assert all(path.stat().st_mode & 0o004 for path in (folder.path / "verified").iterdir())


def test_get_continues_after_cuts(run: Run, server: FileServer) -> None:
    server.behaviour.cuts = [100, 50]
    run("get", "verified")
    assert server.ranges == [None, "bytes=100-", "bytes=150-"]


def test_get_of_installed_weights_downloads_nothing(run: Run, server: FileServer) -> None:
    run("get", "verified")
    assert "is installed and intact" in run("get", "verified")
    assert len(server.ranges) == 1


def test_get_replaces_damaged_weights(run: Run, state: Path) -> None:
    run("get", "verified")
    flip_bit(state / "weights" / "verified" / "graph.onnx")
    assert "installing it again" in run("get", "verified")
    assert "verified: intact" in run("verify")


@pytest.mark.parametrize("origin", ["url", "file"])
def test_wrong_bytes_are_refused_and_not_kept(
    run: Run, state: Path, server: FileServer, tmp_path: Path, origin: str
) -> None:
    server.behaviour.data = lama_like_graph(100)
    file = tmp_path / "file.onnx"
    file.write_bytes(server.behaviour.data)
    with pytest.raises(CommandFailedError, match=rf"the SHA-256 of the file is \w+, but the catalogue says {DIGEST}"):
        run("get", "verified", *(("--from", file) if origin == "file" else ()))
    assert not list(state.rglob("*.onnx"))
    assert not list(state.rglob("*.part"))


def test_truncated_local_file_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(GRAPH[:100])
    with pytest.raises(CommandFailedError, match=f"100 bytes, but the catalogue says {len(GRAPH)}"):
        run("get", "verified", "--from", tmp_path / "half.onnx")


def test_local_file_is_installed_without_network(run: Run, tmp_path: Path, server: FileServer) -> None:
    (tmp_path / "graph.onnx").write_bytes(GRAPH)
    run("get", "verified", "--from", tmp_path / "graph.onnx")
    assert "verified: intact" in run("verify")
    assert not server.ranges


def test_file_that_does_not_fit_its_contract_is_not_installed(run: Run, state: Path, server: FileServer) -> None:
    server.behaviour.data = onnx.load_from_string(GRAPH).SerializeToString().replace(b"output", b"outbut")
    digest = hashlib.sha256(server.behaviour.data).hexdigest()
    with pytest.raises(CommandFailedError, match="does not fit its contract: tensor 'output'"):
        run("get", "unknown", "--accept-digest", digest)
    assert not (state / "weights" / "unknown").exists()
    assert WeightsFolder(state / "weights").pins() == {}


@pytest.mark.parametrize("name", ["published", "prefixed", "unknown"])
def test_unverified_digest_is_confirmed_once_and_pinned(run: Run, server: FileServer, state: Path, name: str) -> None:
    with pytest.raises(CommandFailedError, match=f"same command again with --accept-digest {DIGEST}"):
        run("get", name)
    assert not (state / "weights" / name).exists()
    run("get", name, "--accept-digest", DIGEST)
    assert WeightsFolder(state / "weights").pins() == {name: DIGEST}
    assert server.ranges[1:] == [f"bytes={len(GRAPH)}-"]  # the second command continued


def test_later_other_digest_is_refused(run: Run, state: Path, server: FileServer) -> None:
    run("get", "unknown", "--accept-digest", DIGEST)
    (state / "weights" / "unknown" / "graph.onnx").unlink()
    server.behaviour.data, server.behaviour.etag = lama_like_graph(100), '"v2"'
    other = hashlib.sha256(server.behaviour.data).hexdigest()
    with pytest.raises(CommandFailedError, match=f"is {other}, but {DIGEST} was pinned"):
        run("get", "unknown", "--accept-digest", other)


def test_accepted_digest_must_be_that_of_the_file(run: Run) -> None:
    with pytest.raises(CommandFailedError, match=f"is {DIGEST}, not abc"):
        run("get", "unknown", "--accept-digest", "abc")


def test_restrictive_terms_are_shown_and_must_be_accepted(run: Run, server: FileServer) -> None:
    with pytest.raises(CommandFailedError, match=r"(?s)Not on Sundays.*--accept-licence"):
        run("get", "restricted")
    assert not server.ranges
    run("get", "restricted", "--accept-licence")


def test_verify_names_the_file_with_a_flipped_bit(run: Run, state: Path) -> None:
    run("get", "verified")
    flip_bit(state / "weights" / "verified" / "graph.onnx")
    with pytest.raises(CommandFailedError, match=r"graph\.onnx: verified is damaged: its SHA-256"):
        run("verify")
    with pytest.raises(CommandFailedError, match='"intact": false'):
        run("verify", "--json")


def test_unknown_entry_is_reported_with_a_similar_one(run: Run) -> None:
    with pytest.raises(CommandFailedError, match="did you mean verified"):
        run("get", "verifyed")


def test_use_is_read_by_the_fleet_and_the_environment_wins(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandFailedError, match="sightline weights get verified"):
        run("use", "verified")
    run("get", "verified")
    run("use", "verified")
    assert service_environment(state)["SIGHTLINE_WEIGHTS"] == "catalogue:verified"
    monkeypatch.setenv("SIGHTLINE_INPAINT_WEIGHTS", "own.onnx")
    assert service_environment(state)["SIGHTLINE_WEIGHTS"] == "own.onnx"
    assert "takes precedence" in run("use", "verified")
    monkeypatch.delenv("SIGHTLINE_INPAINT_WEIGHTS")
    run("use", "--shipped", "inpaint")
    assert "SIGHTLINE_WEIGHTS" not in service_environment(state)


def test_up_refuses_an_entry_of_the_environment_that_is_not_installed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_INPAINT_WEIGHTS", "catalogue:verified")
    result = CliRunner().invoke(build_app(), ["up", "inpaint", "--port", str(free_port()), "--state", str(state)])
    assert "run `sightline weights get verified`" in str(result.exception)
    assert "Starting" not in result.output


def service_environment(state: Path) -> dict[str, str]:
    fleet = plan_fleet(("inpaint",), host="127.0.0.1", port=1, state=state, redis_socket=state / "s")
    return dict(fleet.steps[1][0].env)


def test_weights_of_another_model_are_refused(run: Run, state: Path) -> None:
    from services.hdr_correct.predictor import create

    run("get", "verified")
    settings = ServiceSettings.model_validate({"weights": "catalogue:verified", "weights_folder": state / "weights"})
    with pytest.raises(ContractError, match="verified of the catalogue serves inpaint, not hdr_correct"):
        create(settings)


@pytest.mark.skipif(not SHARED_PICODET.is_file(), reason="PicoDet's public file is not on this machine")
def test_picodet_serves_as_detection_stage_over_http(
    run: Run, state: Path, serve: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.hoi.app import create

    run("get", "picodet-s-416", "--from", SHARED_PICODET)
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", "catalogue:picodet-s-416")
    monkeypatch.setenv("SIGHTLINE_WEIGHTS_FOLDER", str(state / "weights"))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        record = client.post("/v1/hoi", files={"image": (SAMPLES / "astronaut.jpg").read_bytes()}).json()
    assert record["evidence"]["model"]["detector"]["name"] == "picodet-s-416"
    assert record["detections"][0]["label"] == "person"
    assert record["detections"][0]["score"] > 0.9
