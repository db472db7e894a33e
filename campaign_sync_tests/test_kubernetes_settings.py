"""The section `kubernetes` of a mandator: which quantities and names it takes, and what a pod then has."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.config import Configuration, KubernetesSettings
from campaign_sync.config.kubernetes import quantity_value
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.run_tags import POD_TAG, pod_config
from campaign_sync_tests.test_configuration import load, problems, with_mandator_keys
from campaign_sync_tests.test_definitions import NOW

NORD = "mandators.nord.kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "deploy/kubernetes/values.yaml").read_text())

WHOLE = """
kubernetes:
  requests: {cpu: 500m, memory: 1Gi}
  limits: {cpu: 2, memory: 8Gi}
  secrets: [campaign-sync, campaign-sync-nord]
"""


def configured(folder: Path, text: str = WHOLE) -> Configuration:
    return load(folder, with_mandator_keys(text))


@given(
    number=st.from_regex(r"[0-9]{1,6}(\.[0-9]{0,4})?|\.[0-9]{1,4}", fullmatch=True),
    unit=st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
)
def test_quantities_mean_what_they_mean_to_kubernetes(number: str, unit: str) -> None:
    quantity = pytest.importorskip("kubernetes.utils.quantity")

    assert quantity_value(number + unit) == quantity.parse_quantity(number + unit)


def test_a_decimal_exponent_is_no_unit() -> None:
    assert [quantity_value(text) for text in ("2e3", "2E3", "2E", "129e6")] == [2000, 2000, 2 * 10**18, 129 * 10**6]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("limits: {memory: 4GB}", f"{NORD}.limits.memory: a quantity of Kubernetes is expected, like 500m"),
        ("limits: {memory: 4 Gi}", f"{NORD}.limits.memory: a quantity of Kubernetes is expected"),
        ("limits: {memory: 4}", f"{NORD}.limits.memory: at least 128Mi is expected"),
        ("limits: {memory: 512m}", f"{NORD}.limits.memory: at least 128Mi is expected"),
        ("limits: {cpu: -1}", f"{NORD}.limits.cpu: a quantity of Kubernetes is expected"),
        ("limits: {cpu: 0}", f"{NORD}.limits.cpu: whole thousandths of a core are expected, at least 1m"),
        ("limits: {cpu: 0.0005}", f"{NORD}.limits.cpu: whole thousandths"),
        ("limits: {cpu: true}", f"{NORD}.limits.cpu: "),
        ("requests: {cpu: 1500m}, limits: {cpu: 1}", f"{NORD}: requests.cpu is more than limits.cpu"),
        ("requests: {memory: 2G}, limits: {memory: 1Gi}", f"{NORD}: requests.memory is more than limits.memory"),
        ("requests: {memory: 2G}", f"{NORD}: requests.memory needs limits.memory"),
        ("secrets: [NORD_PASSWORD]", f"{NORD}.secrets.0: the name of a Secret in the cluster is expected"),
        ("secrets: [a, b, a]", f"{NORD}.secrets: a Secret is named twice"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, keys: str, problem: str) -> None:
    reported = problems(tmp_path, with_mandator_keys(f"kubernetes: {{{keys}}}"))
    assert any(problem in line for line in reported), reported


def test_all_jobs_of_the_mandator_have_the_tag_and_no_others(tmp_path: Path) -> None:
    definitions = build_definitions(configured(tmp_path), NOW)
    jobs = list(definitions.resolve_all_job_defs())
    tagged = {job.name: json.loads(job.run_tags[POD_TAG]) for job in jobs if POD_TAG in job.run_tags}

    names = ("daily_replace", "feedback", "audit", "list_drift", "report", "approve")
    assert set(tagged) == {f"nord_{name}" for name in names}
    assert all(value == tagged["nord_daily_replace"] for value in tagged.values())
    untagged = build_definitions(configured(tmp_path, "kubernetes: {}"), NOW).resolve_all_job_defs()
    assert not any(POD_TAG in job.run_tags for job in untagged)


def test_limits_alone_are_requested_as_well() -> None:
    settings = KubernetesSettings.model_validate({"limits": {"cpu": "1", "memory": "4Gi"}, "requests": {"cpu": "0.5"}})
    assert pod_config(settings) == {
        "container_config": {
            "resources": {"requests": {"cpu": "0.5", "memory": "4Gi"}, "limits": {"cpu": "1", "memory": "4Gi"}}
        }
    }


def pod_of(tags: dict[str, str]) -> Any:
    """The container that dagster-k8s makes for a run with these tags, by `deploy/kubernetes/values.yaml`."""
    jobs = pytest.importorskip("dagster_k8s.job")
    context = pytest.importorskip("dagster_k8s.container_context").K8sContainerContext
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    location = {  # as the chart's helper `dagsterUserDeployments.k8sContainerContext` makes it
        "image_pull_policy": deployment["image"]["pullPolicy"],
        "env_config_maps": ["campaign-sync-dagster-campaign-sync-user-env"],
        "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
        "volume_mounts": deployment["volumeMounts"],
        "volumes": deployment["volumes"],
        "resources": deployment["resources"],
        "env": deployment["env"],
    }
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    merged = context(
        env_config_maps=["campaign-sync-dagster-pipeline-env"],
        run_k8s_config=jobs.UserDefinedDagsterK8sConfig.from_dict(
            {
                "pod_spec_config": launcher["podSpecConfig"],
                "job_spec_config": launcher["jobSpecConfig"],
            }
        ),
    ).merge(
        context.create_from_config({"k8s": location}).merge(
            context(run_k8s_config=jobs.get_user_defined_k8s_config(tags))
        )
    )
    config = jobs.DagsterK8sJobConfig(
        job_image="image", dagster_home="/home", postgres_password_secret="campaign-sync-postgresql"
    )
    return jobs.construct_dagster_k8s_job(config, [], "job", merged.run_k8s_config).to_dict()["spec"]["template"][
        "spec"
    ]


def secrets_of(pod: Any) -> list[str]:
    sources = pod["containers"][0]["env_from"]
    return [source["secret_ref"]["name"] for source in sources if source["secret_ref"]]


def test_a_pod_has_its_own_resources_and_no_other_secrets_and_all_else_as_before(tmp_path: Path) -> None:
    definitions = build_definitions(configured(tmp_path), NOW)
    common = pod_of({})
    own = pod_of(dict(definitions.resolve_job_def("nord_daily_replace").run_tags))

    assert own["containers"][0]["resources"] == {
        "claims": None,
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "8Gi"},
    }
    assert secrets_of(own) == ["campaign-sync", "campaign-sync-nord"]
    assert {variable["name"] for variable in own["containers"][0]["env"]} >= {
        "CAMPAIGN_SYNC_CONFIG",
        "DAGSTER_HOME",
        "DAGSTER_PG_PASSWORD",
    }
    for kept in ("volumes", "termination_grace_period_seconds"):
        assert own[kept] == common[kept], kept
    assert own["containers"][0]["volume_mounts"] == common["containers"][0]["volume_mounts"]


def test_a_pod_without_secrets_of_its_own_has_those_of_all_pods() -> None:
    settings = KubernetesSettings.model_validate({"limits": {"memory": "8Gi"}})
    pod = pod_of({POD_TAG: json.dumps(pod_config(settings))})

    assert secrets_of(pod) == secrets_of(pod_of({}))
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "8Gi"}


def test_a_run_of_a_single_asset_has_the_tag_of_its_job(tmp_path: Path) -> None:
    job = build_definitions(configured(tmp_path), NOW).resolve_job_def("nord_daily_replace")
    subset = job.get_subset(asset_selection={dg.AssetKey(["nord", "bounces"])})

    assert subset.run_tags[POD_TAG] == job.run_tags[POD_TAG]
