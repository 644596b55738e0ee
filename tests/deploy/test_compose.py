"""The compose files without Docker; tests/stack runs them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.gateway.settings import GatewaySettings
from sightline.cli.models import find_models
from sightline.http.fleet_credential import read_credentials
from sightline.serving.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
MODELS = tuple(name.replace("_", "-") for name in find_models())


def read(file: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    services: dict[str, Any] = document["services"]
    return services


SERVICES, GPU = read("docker-compose.yml"), read("deploy/docker-compose.gpu.yml")
WEIGHTS = read("deploy/docker-compose.weights.yml")
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}


def test_every_model_has_a_container() -> None:
    assert {name for name in BUILT if "SERVICE" in BUILT[name]["build"]["args"]} == set(MODELS)
    for name in MODELS:
        assert SERVICES[name]["profiles"] == [name]
        assert BUILT[name]["build"]["args"]["SERVICE"] == name.replace("-", "_")


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_least_privileges(name: str) -> None:
    service = SERVICES[name]
    if name == "secrets":  # runs once, without a network
        assert service["network_mode"] == "none"
        return
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == "unless-stopped"
    assert "mem_limit" in service


def test_only_gateway_and_grafana_publish_ports_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"gateway", "grafana"}
    assert all(port.startswith(("127.0.0.1:", "${SIGHTLINE_BIND:-127.0.0.1}:")) for (port,) in ports.values())


@pytest.mark.parametrize("name", MODELS)
def test_gpu_model_never_falls_back_to_cpu(name: str) -> None:
    service = GPU[name]
    assert service["build"]["args"] == {"RUNTIME": "gpu"}
    assert service["environment"]["SIGHTLINE_PROVIDERS"] == "${SIGHTLINE_GPU_PROVIDERS:-cuda}"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert device["device_ids"] == [f"${{SIGHTLINE_GPU_{name.replace('-', '_').upper()}:-0}}"]


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_mounted_read_only_and_chosen_by_the_models_variable(name: str) -> None:
    service = WEIGHTS[name]
    (mount,) = service["volumes"]
    folder = service["environment"]["SIGHTLINE_WEIGHTS_FOLDER"]
    assert mount.endswith(f":{folder}:ro")
    variable = f"SIGHTLINE_{name.replace('-', '_').upper()}_WEIGHTS"
    assert service["environment"]["SIGHTLINE_WEIGHTS"] == f"${{{variable}:-}}"


def test_unset_weights_of_compose_are_the_shipped_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", "")
    assert ServiceSettings().weights is None


def test_models_get_the_private_evidence_key_and_the_gateway_the_public_ones() -> None:
    overlay = read("deploy/docker-compose.evidence.yml")
    assert set(overlay) == {*MODELS, "gateway"}
    for name, service in overlay.items():
        variable = "SIGHTLINE_EVIDENCE_KEYS" if name == "gateway" else "SIGHTLINE_EVIDENCE_KEY"
        assert set(service["environment"]) == {variable}
        (mount,) = service["volumes"]
        assert mount.endswith(f":{service['environment'][variable]}:ro")
        assert mount.startswith(f"${{{variable}:-")


def test_models_accept_compose_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES[MODELS[0]]["environment"]
    for name in ("SIGHTLINE_CONTENT_CREDENTIALS", "SIGHTLINE_DETERMINISTIC"):
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", environment[name]))
    settings = ServiceSettings()
    assert (settings.embeds_credentials, settings.deterministic) == (True, False)


def test_models_require_fleet_credential_and_prometheus_has_its_own(tmp_path: Path) -> None:
    subprocess.run(["sh", ROOT / "deploy" / "docker" / "make-secrets.sh", tmp_path], check=True)
    for name in (*MODELS, "gateway"):
        file = Path(SERVICES[name]["environment"]["SIGHTLINE_FLEET_CREDENTIAL_FILE"])
        assert read_credentials((tmp_path / file.name).read_text())
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (discovery,) = (config for each in prometheus["scrape_configs"] for config in each.get("http_sd_configs", ()))
    assert discovery["authorization"]["type"] == "Bearer"
    file = discovery["authorization"]["credentials_file"]
    assert file == SERVICES["gateway"]["environment"]["SIGHTLINE_METRICS_CREDENTIAL_FILE"]
    assert read_credentials((tmp_path / Path(file).name).read_text())
    for name in ("gateway", "prometheus", *MODELS):
        assert "${SIGHTLINE_SECRETS:-secrets}:/run/sightline:ro" in SERVICES[name]["volumes"]


def test_existing_secrets_are_kept(tmp_path: Path) -> None:
    make = ["sh", str(ROOT / "deploy" / "docker" / "make-secrets.sh"), str(tmp_path)]
    subprocess.run(make, check=True)
    first = {file.name: file.read_text() for file in tmp_path.iterdir()}
    subprocess.run(make, check=True)
    assert first == {file.name: file.read_text() for file in tmp_path.iterdir()}
    secrets = [text for name, text in first.items() if name.endswith(("password", "credential"))]
    assert len(set(secrets)) == 4


def test_gateway_accepts_compose_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes empty strings for variables that the operator has not set."""
    for name in ("ALLOWED_HOSTS", "TRUSTED_PROXIES", "ROOT_PATH", "CORS_ORIGINS"):
        value = SERVICES["gateway"]["environment"][f"SIGHTLINE_{name}"]
        monkeypatch.setenv(f"SIGHTLINE_{name}", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    settings = GatewaySettings()
    assert settings.allowed_hosts == ("gateway",)
    assert (settings.trusted_proxies, settings.root_path, settings.cors_origins) == ((), "", ())


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_fixed_tag(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert tag
    assert tag != "latest"
