import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml

from mlops_assets.settings import PROJECT_ROOT
from mlops_assets.stores.online import OnlineStore
from mlops_assets_tests.deploy import commands
from mlops_assets_tests.deploy.conftest import DEPLOY, SETTINGS, documents, environment_of, walk

ROOT = DEPLOY / "kubernetes"
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.name != "images.yaml")
MANIFESTS = [path for path in FILES if path.name != "kustomization.yaml"]
RAY_SERVICE = ROOT / "kuberay" / "rayservice.yaml"
SCHEMA = Path(__file__).with_name("rayservice.schema.json")
# The oldest release that is still maintained somewhere, and the newest that we can check.
RELEASES = ("1.31", "1.37")
PORT = 8000
RAY = Path(str(importlib.util.find_spec("ray").origin)).parent  # type: ignore[union-attr]
PARSE = """
import json, sys
from ray.serve.schema import ServeDeploySchema
parsed = ServeDeploySchema.model_validate(json.load(sys.stdin))
print(parsed.model_dump_json(exclude_unset=True))
"""
BUILD = """
from serving.cluster import build
deployment = build({})._bound_deployment
print(deployment.name, deployment.max_ongoing_requests)
"""


def run_python(code: str, given: str = "", **environment: str) -> str:
    """What a Python of its own prints: importing Ray warns."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=given,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects() -> list[dict[str, Any]]:
    return [one for path in MANIFESTS for one in documents(path)]


def named(kind: str, name: str) -> dict[str, Any]:
    return next(o for o in objects() if (o["kind"], o["metadata"]["name"]) == (kind, name))


def ray_service() -> dict[str, Any]:
    return documents(RAY_SERVICE)[0]


def ray_templates() -> dict[str, dict[str, Any]]:
    cluster = ray_service()["spec"]["rayClusterConfig"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": cluster["workerGroupSpecs"][0]["template"],
    }


def pod_templates() -> dict[str, dict[str, Any]]:
    plain = named("Deployment", "mlops-serving")["spec"]["template"]
    return {**ray_templates(), "deployment": plain}


def container(template: str, name: str) -> dict[str, Any]:
    return next(c for c in pod_templates()[template]["spec"]["containers"] if c["name"] == name)


REPLICAS = {"worker": "ray-worker", "deployment": "serving"}
every_template = pytest.mark.parametrize("name", ["head", "worker", "deployment"])
with_replicas = pytest.mark.parametrize("name", sorted(REPLICAS))


@pytest.mark.parametrize("release", RELEASES)
def test_manifests_fit_the_schemas_of_kubernetes(release: str):
    checked = [one for one in objects() if one["kind"] != "RayService"]
    assert len(checked) >= 10
    for one in checked:
        kubernetes_validate.validate(one, release, strict=True)


@pytest.mark.parametrize("release", RELEASES)
def test_pods_of_the_ray_service_fit_the_schemas_of_kubernetes(release: str):
    for template in ray_templates().values():
        kubernetes_validate.validate(as_pod(template), release, strict=True)


def test_a_misspelt_field_of_a_pod_would_not_fit():
    pod = as_pod(ray_templates()["worker"])
    pod["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(pod, RELEASES[-1], strict=True)


def token_file(folder: Path) -> Path:
    path = folder / "token"
    path.write_text("0123456789abcdef0123456789abcdef")
    path.chmod(0o600)
    return path


def as_pod(template: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}


def test_the_ray_service_fits_its_schema():
    jsonschema.validate(ray_service(), json.loads(SCHEMA.read_text()))


def test_a_misspelt_field_of_the_ray_service_would_not_fit():
    wrong = ray_service()
    wrong["spec"]["rayClusterConfig"]["authOption"] = {"mode": "token"}
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        jsonschema.validate(wrong, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("overlay", ["kuberay", "deployment"])
def test_a_kustomization_names_every_file_of_its_folder(overlay: str):
    for folder in (overlay, "base"):
        (kustomization,) = documents(ROOT / folder / "kustomization.yaml")
        there = {path.name for path in (ROOT / folder).glob("*.yaml")} - {"kustomization.yaml"}
        listed = {*kustomization["resources"], *kustomization.get("configurations", ())}
        assert listed - {"../base"} == there
    assert "../base" in documents(ROOT / overlay / "kustomization.yaml")[0]["resources"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize(("overlay", "images"), [("kuberay", 5), ("deployment", 3)])
def test_kustomize_builds_with_a_version_for_each_image(overlay: str, images: int):
    command = ["kubectl", "kustomize", str(ROOT / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = [m["image"] for one in yaml.safe_load_all(built) for m in walk(one) if "image" in m]
    assert used == ["mlops-assets-serving:0.1.0"] * images
    spaces = {
        one["metadata"].get("namespace")
        for one in yaml.safe_load_all(built)
        if one["kind"] != "Namespace"
    }
    assert spaces == {"mlops"}


@every_template
def test_commands_are_the_codes(name: str):
    spec = pod_templates()[name]["spec"]
    checked = 0
    for one in (*spec["initContainers"], *spec["containers"]):
        probes = (one.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness"))
        hook = one.get("lifecycle", {}).get("preStop", {})
        found = [one.get("command"), *(p.get("exec", {}).get("command") for p in (*probes, hook))]
        for command in filter(None, found):
            commands.check(command)
            checked += 1
    assert checked >= 3


def test_settings_exist_and_ray_reads_its_variables():
    settings = named("ConfigMap", "serving-settings")["data"]
    assert {"MLOPS_HOME", "MLOPS_TRACKING_URI", "MLOPS_SERVE_TOKEN_FILE"} <= set(settings)
    assert set(settings) <= SETTINGS
    known = (RAY / "serve" / "_private" / "constants.py").read_text()
    of_serve = [n for n in named("ConfigMap", "ray-settings")["data"] if n.startswith("RAY_SERVE_")]
    assert len(of_serve) >= 10
    assert [name for name in of_serve if f'"{name}"' not in known] == []


def test_a_cluster_is_set_up_as_one_machine_is(tmp_path: Path):
    """serving.environment finds out what one machine needs; nodes get the same, but for places."""
    from serving.environment import Place, ray_environment

    program = tmp_path / "haproxy"
    program.touch()
    folder = tmp_path / "place"
    folder.mkdir()
    here = ray_environment(Place("127.0.0.1", PORT, folder, program), 1)
    there = named("ConfigMap", "ray-settings")["data"]
    common = set(here) & set(there)
    assert {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED"} <= common
    assert {name: there[name] for name in common} == {name: here[name] for name in common}


def test_the_image_and_the_manifest_have_the_same_ray():
    pinned = re.search(r"(?m)^ray==(\S+)$", (PROJECT_ROOT / "constraints.txt").read_text())
    assert pinned is not None
    assert ray_service()["spec"]["rayClusterConfig"]["rayVersion"] == pinned[1]


def serve_config() -> Any:
    return yaml.safe_load(ray_service()["spec"]["serveConfigV2"])


def test_ray_takes_the_serve_config_without_an_unknown_field():
    config = serve_config()
    parsed = json.loads(run_python(PARSE, json.dumps(config)))

    def compare(given: Any, understood: Any) -> None:
        if isinstance(given, dict):
            assert set(given) <= set(understood)
            for name, value in given.items():
                compare(value, understood[name])
        elif isinstance(given, list):
            for one, other in zip(given, understood, strict=True):
                compare(one, other)

    compare(config, parsed)


def test_the_serve_config_names_our_application(tmp_path: Path):
    (application,) = serve_config()["applications"]
    assert application["import_path"] == "serving.cluster:build"
    settings = {
        "MLOPS_SERVE_HOST": "0.0.0.0",
        "MLOPS_SERVE_TOKEN_FILE": str(token_file(tmp_path)),
    }
    name, requests = run_python(BUILD, **settings).split()
    (overridden,) = application["deployments"]
    assert (overridden["name"], overridden["max_ongoing_requests"]) == (name, int(requests))


def test_one_replica_fits_one_worker_and_three_start():
    (deployment,) = serve_config()["applications"][0]["deployments"]
    (workers,) = ray_service()["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    scaling = deployment["autoscaling_config"]
    assert (workers["minReplicas"], workers["replicas"], scaling["min_replicas"]) == (3, 3, 3)
    assert workers["maxReplicas"] == scaling["max_replicas"]
    assert scaling["initial_replicas"] == scaling["min_replicas"]
    assert scaling["target_ongoing_requests"] < deployment["max_ongoing_requests"]
    assert str(deployment["ray_actor_options"]["num_cpus"]) == workers["rayStartParams"]["num-cpus"]
    head = ray_service()["spec"]["rayClusterConfig"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    autoscaler = named("HorizontalPodAutoscaler", "mlops-serving")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (3, 12)


@with_replicas
def test_replicas_are_probed_on_health_and_have_the_agreed_resources(name: str):
    found = container(name, REPLICAS[name])
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    for kind in ("startup", "readiness", "liveness"):
        probe = found[f"{kind}Probe"]["httpGet"]
        assert (probe["path"], ports[probe["port"]]) == ("/health", PORT)
    # A pod of the plain Deployment has a whole Ray in it: 1.0 GiB were measured.
    least, most = ("1Gi", "1536Mi") if name == "deployment" else ("512Mi", "1Gi")
    assert found["resources"] == {
        "requests": {"cpu": "500m", "memory": least},
        "limits": {"cpu": "1", "memory": most},
    }


def test_ports_are_one_and_the_same():
    assert named("ConfigMap", "serving-settings")["data"]["MLOPS_SERVE_PORT"] == str(PORT)
    assert serve_config()["http_options"] == {"host": "0.0.0.0", "port": PORT}
    (port,) = named("Service", "mlops-serving")["spec"]["ports"]
    assert port["port"] == PORT
    names = {p["name"] for p in container("deployment", "serving")["ports"]}
    assert port["targetPort"] in names
    (rule,) = named("NetworkPolicy", "serving-clients")["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": PORT}]


def test_health_answers_without_a_token_and_predictions_do_not(tmp_path: Path):
    """What the probes rely on, asked of the serving code itself."""
    from serving.auth import Tokens
    from serving.http import PredictionService
    from serving.models import ModelSet

    models = ModelSet(tmp_path / "state.json")
    service = PredictionService(models, tmp_path / "log", Tokens(token_file(tmp_path)))
    assert service.handle("GET", "/health", {}, b"").status == 200
    assert service.handle("POST", "/v1/models/any/predict", {}, b"{}").status == 401


@every_template
def test_pods_run_without_rights(name: str):
    spec = pod_templates()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in (*spec["initContainers"], *spec["containers"]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(one["resources"]) == {"requests", "limits"}
    if name != "head":  # The operator gives the head an account of its own, for the autoscaler.
        assert spec["automountServiceAccountToken"] is False


@every_template
def test_volumes_are_there_and_everything_that_is_written_has_one(name: str):
    spec = pod_templates()[name]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for one in (*spec["initContainers"], *spec["containers"]):
        assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes)
    settings = named("ConfigMap", "serving-settings")["data"]
    token = settings["MLOPS_SERVE_TOKEN_FILE"]
    (copy,) = spec["initContainers"]
    assert copy["command"][-1] == token
    assert volumes["run"]["emptyDir"]["medium"] == "Memory"
    for one in spec["containers"]:
        mounts = {mount["mountPath"] for mount in one["volumeMounts"]}
        assert str(Path(token).parent) in mounts
        assert "/tmp" in mounts
        if name != "head":
            home = settings["MLOPS_HOME"]
            assert {home, f"{home}/prediction_log"} <= mounts
            assert home == environment_of(DEPLOY / "docker" / "serving.Dockerfile")["MLOPS_HOME"]


@with_replicas
def test_every_pod_with_replicas_has_a_follower_that_shares_its_home(name: str):
    replica, follower = container(name, REPLICAS[name]), container(name, "follower")
    assert follower["command"] == ["python", "-m", "serving.sidecar"]
    assert follower["volumeMounts"] == replica["volumeMounts"]
    settings = [one for one in replica["envFrom"] if "configMapRef" in one]
    lake, online = (
        {"secretRef": {"name": name, "optional": True}}
        for name in ("lake-credentials", "online-store")
    )
    assert follower["envFrom"] == [*settings, lake]
    assert replica["envFrom"] == [*settings, online]
    assert container("deployment", "serving")["command"][-1] == "--no-follow"


def test_the_past_is_looked_up_in_a_database_that_all_replicas_reach():
    (settings,) = (one for one in objects() if one["metadata"]["name"] == "serving-settings")
    url = urlsplit(settings["data"]["MLOPS_ONLINE_URL"])
    assert (url.scheme, url.password) == ("postgresql", None)
    assert OnlineStore(url.geturl()).is_remote
    described = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    assert "create secret generic online-store --from-literal=PGPASSWORD=" in described


def test_no_secret_is_in_the_files_and_tokens_are_asked_for():
    assert not [one for one in objects() if one["kind"] == "Secret"]
    assert ray_service()["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    used = {m["secretName"] for one in objects() for m in walk(one) if "secretName" in m}
    assert used == {"serving-token"}
    described = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    assert "create secret generic serving-token --from-file=token=" in described


def test_no_dashboard_and_nothing_else_is_public():
    assert not [one for one in objects() if one["kind"] == "Ingress"]
    types = {one["spec"]["type"] for one in objects() if one["kind"] == "Service"}
    head = ray_service()["spec"]["rayClusterConfig"]["headGroupSpec"]
    assert types | {head["serviceType"]} == {"ClusterIP"}
    deny = named("NetworkPolicy", "deny-ingress")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress"]}
    policies = [one["spec"] for one in objects() if one["kind"] == "NetworkPolicy"]
    reaching_the_dashboard = [
        rule
        for policy in policies
        for rule in policy.get("ingress", ())
        if any(port["port"] == 8265 for port in rule.get("ports", ()))
    ]
    (rule,) = reaching_the_dashboard
    (source,) = rule["from"]
    assert list(source) == ["namespaceSelector"]


def test_network_policies_and_services_select_our_pods():
    labels = {name: t["metadata"]["labels"] for name, t in pod_templates().items()}
    assert labels["head"] == {"mlops-ray": "node"}
    assert labels["worker"] == {"mlops-ray": "node", "mlops-component": "serving"}
    assert labels["deployment"] == {"mlops-component": "serving"}
    plain = labels["deployment"]
    assert named("Service", "mlops-serving")["spec"]["selector"] == plain
    assert named("Deployment", "mlops-serving")["spec"]["selector"]["matchLabels"] == plain
    assert named("PodDisruptionBudget", "mlops-serving")["spec"]["selector"]["matchLabels"] == plain
    nodes = named("NetworkPolicy", "ray-nodes")["spec"]
    assert nodes["podSelector"]["matchLabels"] == labels["head"]
