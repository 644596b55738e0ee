"""The chart, linted and rendered by Helm's SDK; each object is checked against the schema of its kind."""

import base64
import importlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sightline import __version__
from sightline.cli.app import build_app
from sightline.cli.models import find_models
from sightline.http.fleet_credential import read_credentials

helm = pytest.importorskip("helm_python", reason="Helm's SDK is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed")

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "sightline"
KUBERNETES = "1.31"
NAMESPACE = "lab"
CUSTOM = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}

Object = Mapping[str, Any]
PLAIN: Object = {"redis": {"url": "redis://redis:6379"}, "blobs": {"url": "s3://pictures/jobs"}}
FULL: Object = {
    "image": {"pullSecrets": [{"name": "pull"}]},
    "redis": {
        "url": "redis+sentinel://a:26379,b:26379/main",
        "passwordSecret": {"name": "redis", "key": "password"},
    },
    "blobs": {"url": "s3://b", "credentialsSecret": "s3", "env": {"AWS_REGION": "eu-west-1"}},
    "serviceAccount": {"annotations": {"role": "reader"}},
    "prometheus": {"labels": {"release": "prometheus"}},
    "tracing": {"endpoint": "http://collector:4318"},
    "evidence": {"secret": "evidence"},
    "gateway": {
        "keysSecret": "keys",
        "clients": [{"podSelector": {"matchLabels": {"app": "web"}}}],
        "service": {"annotations": {"a": "b"}},
        "env": {"SIGHTLINE_SYNC_PIXELS": 8000000},
    },
    "models": {
        "inpaint": {"providers": "tensorrt,cuda", "minReplicas": 2},
        "hdr-correct": {"gpu": {"enabled": False}, "env": {"SIGHTLINE_MAX_BATCH": 4}},
        "hoi": {"minReplicas": 0, "weights": {"claim": "weights", "use": "catalogue:picodet-s-416"}},
    },
    "batch": {
        "jobs": {
            "archive": {
                "model": "screen",
                "source": "s3://b/photos",
                "out": "s3://b/screened",
                "shards": 16,
                "parallelism": 4,
                "args": ["--option", "threshold=0.6"],
                "keySecret": "batch-key",
                "volumes": [{"name": "photos", "mountPath": "/photos", "claim": "photos"}],
            }
        }
    },
    "training": {
        "image": "sightline/train:1",
        "jobs": {
            "inpaint": {
                "args": ["train", "inpaint", "/data"],
                "nodes": 2,
                "gpusPerNode": 8,
                "volumes": [{"name": "data", "mountPath": "/data", "claim": "photos"}],
                "resources": {"requests": {"cpu": "8"}, "limits": {"memory": "64Gi"}},
            }
        },
    },
}


@cache
def rendered(values: str) -> tuple[Object, ...]:
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(json.loads(values), name="fleet", namespace=NAMESPACE)
    documents = [document for text in files.values() for document in yaml.safe_load_all(text)]
    return tuple(document for document in documents if document)


def objects(values: Object, kind: str) -> dict[str, Object]:
    """Objects by name."""
    return {each["metadata"]["name"]: each for each in rendered(json.dumps(values)) if each["kind"] == kind}


def container(deployment: Object) -> Object:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = only
    return found


def environment(deployment: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(deployment)["env"]}


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_chart_passes_lint(values: Object) -> None:
    findings = helm.lint(str(CHART), values=values)
    messages = findings["messages"] if isinstance(findings, dict) else findings
    assert [finding for finding in messages if "icon" not in str(finding)] == []


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_every_object_matches_its_schema(values: Object) -> None:
    for each in rendered(json.dumps(values)):
        if each["apiVersion"] in CUSTOM:
            check_custom(each)
        else:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def check_custom(each: Object) -> None:
    """Asserts that the schema has every field; a dropped field is misspelt."""
    kind = getattr(importlib.import_module(CUSTOM[each["apiVersion"]]), each["kind"])
    kept = json.loads(kind.model_validate(each).model_dump_json(by_alias=True, exclude_none=True))
    assert set(paths(each)) <= set(paths(kept)), each["metadata"]["name"]


def test_misspelt_field_is_detected() -> None:
    (each,) = [each for each in objects(PLAIN, "ScaledObject").values() if each["metadata"]["name"] == "fleet-inpaint"]
    with pytest.raises(AssertionError, match="fleet-inpaint"):
        check_custom({**each, "spec": {**each["spec"], "maxReplicaCounts": 3}})


def paths(value: Any, at: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from paths(inner, f"{at}.{key}")
        case list():
            for index, inner in enumerate(value):
                yield from paths(inner, f"{at}[{index}]")
        case _:
            yield at


@pytest.mark.parametrize(("missing", "complaint"), [("redis", "redis.url"), ("blobs", "blobs.url")])
def test_missing_required_value_is_reported(missing: str, complaint: str) -> None:
    values = {key: value for key, value in PLAIN.items() if key != missing}
    with pytest.raises(helm.HelmError, match=complaint):
        rendered(json.dumps(values))


def test_chart_deploys_every_model() -> None:
    parts = {name.replace("_", "-") for name in (*find_models(), "gateway")}
    assert set(objects(PLAIN, "Deployment")) == {f"fleet-{part}" for part in parts}


def test_chart_has_version_of_package() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_gateway_finds_replicas_by_headless_services() -> None:
    upstreams = json.loads(environment(objects(FULL, "Deployment")["fleet-gateway"])["SIGHTLINE_UPSTREAMS"])
    assert upstreams["hdr_correct"] == ["dns+http://fleet-hdr-correct.lab.svc:8000"]
    services = objects(FULL, "Service")
    for (url,) in upstreams.values():
        name = url.removeprefix("dns+http://").partition(".")[0]
        assert services[name]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("own", ["", "mine"])
def test_gateway_and_models_share_a_credential(own: str) -> None:
    values = {**FULL, "fleet": {"credentialSecret": own}}
    made = objects(values, "Secret")
    assert set(made) == (set() if own else {"fleet-fleet-credential"})
    for each in made.values():
        assert read_credentials(base64.b64decode(each["data"]["fleet-credential"]).decode())
    for name in ("fleet-gateway", "fleet-inpaint", "fleet-hdr-correct"):
        deployment = objects(values, "Deployment")[name]
        file = Path(environment(deployment)["SIGHTLINE_FLEET_CREDENTIAL_FILE"])
        mounts = {each["mountPath"]: each["name"] for each in container(deployment)["volumeMounts"]}
        (volume,) = (
            each
            for each in deployment["spec"]["template"]["spec"]["volumes"]
            if each["name"] == mounts[str(file.parent)]
        )
        assert volume["secret"]["secretName"] == (own or "fleet-fleet-credential")


def test_gateway_allows_names_of_service_and_ingress() -> None:
    values = {**FULL, "gateway": {"hosts": ["photos.example.org"], "trustedProxies": ["10.1.0.0/16", "fd00::/8"]}}
    env = environment(objects(values, "Deployment")["fleet-gateway"])
    assert env["SIGHTLINE_ALLOWED_HOSTS"].split(",")[2:] == [
        "fleet-gateway.lab.svc",
        "fleet-gateway.lab.svc.cluster.local",
        "photos.example.org",
    ]
    assert env["SIGHTLINE_TRUSTED_PROXIES"] == "10.1.0.0/16,fd00::/8"


def test_gateway_accepts_chart_settings() -> None:
    from services.gateway.settings import GatewaySettings

    env = environment(objects(FULL, "Deployment")["fleet-gateway"])
    settings = GatewaySettings(
        upstreams=json.loads(env["SIGHTLINE_UPSTREAMS"]),
        resting_models=env["SIGHTLINE_RESTING_MODELS"],  # type: ignore[arg-type]  # as the environment has it
    )
    assert settings.resting_models == ("hoi",)
    assert set(settings.upstreams) == set(find_models())


@pytest.mark.parametrize("name", ["fleet-gateway", "fleet-inpaint", "fleet-hdr-correct"])
def test_pod_has_least_privileges_and_drains(name: str) -> None:
    spec = objects(FULL, "Deployment")[name]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    for each in (*spec["containers"], *spec.get("initContainers", ())):
        assert each["securityContext"]["readOnlyRootFilesystem"]
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (only,) = spec["containers"]
    pause_s = int(only["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause_s + 30


def test_only_gpu_models_request_a_gpu() -> None:
    deployments = objects(FULL, "Deployment")
    assert container(deployments["fleet-inpaint"])["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container(deployments["fleet-inpaint"])["image"].endswith("-gpu")
    assert "nvidia.com/gpu" not in container(deployments["fleet-hdr-correct"])["resources"]["limits"]
    assert "nodeSelector" not in deployments["fleet-hdr-correct"]["spec"]["template"]["spec"]
    assert environment(deployments["fleet-hdr-correct"])["SIGHTLINE_PROVIDERS"] == "cpu"
    assert "cpu" not in environment(deployments["fleet-inpaint"])["SIGHTLINE_PROVIDERS"]


def test_init_container_builds_engines_with_service_settings() -> None:
    spec = objects(FULL, "Deployment")["fleet-inpaint"]["spec"]["template"]["spec"]
    (build,) = spec["initContainers"]
    assert build["command"] == ["build-engines"]
    assert {entry["name"]: entry["value"] for entry in build["env"]}["SIGHTLINE_TENSORRT_CACHE"] == "/engines"
    assert build["image"] == spec["containers"][0]["image"]
    assert "initContainers" not in objects(PLAIN, "Deployment")["fleet-inpaint"]["spec"]["template"]["spec"]


def test_weights_of_a_claim_are_mounted_and_used() -> None:
    hoi, screening = (objects(FULL, "Deployment")[f"fleet-{name}"] for name in ("hoi", "hra-screening"))
    assert environment(hoi)["SIGHTLINE_WEIGHTS"] == "catalogue:picodet-s-416"
    folder = environment(hoi)["SIGHTLINE_WEIGHTS_FOLDER"]
    assert {"name": "weights", "mountPath": folder, "readOnly": True} in container(hoi)["volumeMounts"]
    claim = {"claimName": "weights", "readOnly": True}
    assert {"name": "weights", "persistentVolumeClaim": claim} in hoi["spec"]["template"]["spec"]["volumes"]
    assert "SIGHTLINE_WEIGHTS" not in environment(screening)


def evidence_files(deployment: Object) -> list[str]:
    """Files of the evidence secret that a pod gets; none without the secret."""
    volumes = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "evidence"]
    mounts = [each for each in container(deployment)["volumeMounts"] if each["name"] == "evidence"]
    assert len(volumes) == len(mounts)
    return [item["path"] for volume in volumes for item in volume["secret"]["items"]]


def test_models_get_the_private_evidence_key_and_the_gateway_the_public_ones() -> None:
    for name, deployment in objects(FULL, "Deployment").items():
        if name == "fleet-gateway":
            assert environment(deployment)["SIGHTLINE_EVIDENCE_KEYS"] == "/run/sightline/evidence/public-keys.json"
            assert evidence_files(deployment) == ["public-keys.json"]
        else:
            assert environment(deployment)["SIGHTLINE_EVIDENCE_KEY"] == "/run/sightline/evidence/evidence-key.pem"
            assert evidence_files(deployment) == ["evidence-key.pem"]
    for deployment in objects(PLAIN, "Deployment").values():
        assert evidence_files(deployment) == []
        assert not any(name.startswith("SIGHTLINE_EVIDENCE") for name in environment(deployment))


def test_each_model_scales_by_its_queue_and_to_zero_only_if_configured() -> None:
    scaled = objects(FULL, "ScaledObject")
    triggers = {trigger["name"]: trigger["metadata"] for trigger in scaled["fleet-hoi"]["spec"]["triggers"]}
    assert set(triggers) == {"waiting-jobs", "oldest-job", "requests-in-flight", "turned-away"}
    assert all('namespace="lab", model="hoi"' in trigger["query"] for trigger in triggers.values())
    assert all(trigger["activationThreshold"] == "0" for trigger in triggers.values())
    assert scaled["fleet-hoi"]["spec"]["minReplicaCount"] == 0
    assert scaled["fleet-hoi"]["spec"]["fallback"]["replicas"] == 1
    assert scaled["fleet-inpaint"]["spec"]["minReplicaCount"] == 2
    for name, each in scaled.items():
        assert each["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in objects(FULL, "Deployment")[name]["spec"]  # two that say it would fight


def test_scalers_query_existing_metrics() -> None:
    known = "".join(file.read_text() for file in (ROOT / "services" / "gateway").rglob("*.py"))
    for each in objects(FULL, "ScaledObject").values():
        for trigger in each["spec"]["triggers"]:
            name = trigger["metadata"]["query"].partition("{")[0].rpartition("(")[2]
            assert name.removeprefix("sightline_jobs_").removesuffix("_total") in known


def test_only_gateway_and_prometheus_reach_models() -> None:
    policy = objects(FULL, "NetworkPolicy")["fleet-models"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["ingress"]
    pods, namespace = ingress["from"]
    assert pods["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert namespace["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    for name in ("fleet-inpaint", "fleet-hoi"):
        labels = objects(FULL, "Deployment")[name]["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_chart_has_rules_of_compose() -> None:
    (installed,) = objects(FULL, "PrometheusRule").values()
    files = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert installed["spec"]["groups"] == groups


def test_prometheus_scrapes_every_service_with_job_names_of_rules() -> None:
    (monitor,) = objects(FULL, "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"]
    label = monitor["spec"]["jobLabel"]
    found = {name: service["metadata"]["labels"] for name, service in objects(FULL, "Service").items()}
    watched = {name: labels for name, labels in found.items() if wanted.items() <= labels.items() and label in labels}
    assert {labels[label] for labels in watched.values()} == {"gateway", "model"}


def test_batch_sends_one_shard_per_pod_through_the_gateway() -> None:
    job = objects(FULL, "Job")["fleet-batch-archive"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 16, 4)
    (pod,) = job["template"]["spec"]["containers"]
    assert pod["image"].startswith("sightline/cli:")
    assert pod["args"][:3] == ["batch", "screen", "s3://b/photos"]
    assert "--url=http://fleet-gateway:8080" in pod["args"]
    assert "--shard=$(JOB_COMPLETION_INDEX)/16" in pod["args"]
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in pod["env"]
    assert pod["envFrom"] == [{"secretRef": {"name": "s3"}}]


def test_command_of_batch_is_understood() -> None:
    job = objects(FULL, "Job")["fleet-batch-archive"]["spec"]["template"]["spec"]["containers"][0]
    words = [word.replace("$(JOB_COMPLETION_INDEX)", "3") for word in job["args"]]
    with build_app_command("batch").make_context("batch", words[1:]) as context:
        assert context.params["shard"] == "3/16"
        assert list(context.params["option"]) == ["threshold=0.6"]


def test_batch_pods_reach_a_gateway_with_named_clients() -> None:
    ingress = objects(FULL, "NetworkPolicy")["fleet-gateway"]["spec"]["ingress"]
    tiers = [each["podSelector"]["matchLabels"].get("sightline.org/tier") for each in ingress[0]["from"]]
    assert "batch" in tiers


def build_app_command(name: str) -> Any:
    return typer.main.get_command(build_app()).commands[name]  # type: ignore[attr-defined]


def test_training_runs_torchrun_on_every_machine() -> None:
    job = objects(FULL, "Job")["fleet-train-inpaint"]
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 2)
    assert job["spec"]["completionMode"] == "Indexed"
    command = container(job)["command"]
    assert "--rdzv-endpoint=fleet-train-inpaint-0.fleet-train-inpaint:29500" in command
    assert {"--nnodes=2", "--nproc-per-node=8"} <= set(command)
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert container(job)["args"] == ["train", "inpaint", "/data"]
