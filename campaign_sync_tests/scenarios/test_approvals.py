"""Lists that others have filled, and leaps of their size, wait for the approval of a plan."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from campaign_sync.cli.documents import PersonDocument
from campaign_sync.cli.plan_document import ListPlanDocument, PlanDocument
from campaign_sync.cli.run import problems
from campaign_sync.crm.sql.schema import marketing_list_member
from campaign_sync.orchestration.assets.recipient_list import APPLY_TAG
from campaign_sync.orchestration.names import USER_TAG
from campaign_sync.replacement.errors import ApprovalError
from campaign_sync.replacement.list_approval import approve_plan
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, Installation, running_installation
from campaign_sync_tests.test_apply import requested, requests
from campaign_sync_tests.test_cli import campaign_sync

OTHERS = [*ADDRESSES[:4], "stranger@example.org"]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        del running.list_settings()["approval"]  # the default is tested
        assert running.configuration  # writes the file
        yield running


def plan(installation: Installation, exit_code: int = 1) -> ListPlanDocument:
    done = campaign_sync(installation.folder, "plan", "nord", "--list", "newsletter", "--json", "--save")
    assert done.returncode == exit_code, done.stdout + done.stderr
    return PlanDocument.model_validate_json(done.stdout).lists[0]


def refusing(planned: ListPlanDocument) -> set[str]:
    return {check.name for check in planned.checks if check.verdict == "refuses"}


def approve_in_ui(
    installation: Installation, plan_id: str | None, reason: str = "seen", name: str = "", login: str | None = None
) -> str:
    """Launch the job, and return its error; nothing if it succeeded."""
    config = {"list": "newsletter", "plan": plan_id, "reason": reason, "name": name}
    done = installation.definitions.resolve_job_def("nord_approve").execute_in_process(
        run_config={
            "ops": {"nord_approval": {"config": config}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
        tags={USER_TAG: login} if login else None,
    )
    return next(iter(problems(done)), "")


def approve(installation: Installation, plan_id: str | None, *, days_later: int = 0) -> None:
    settings = list_settings(installation.configuration, "nord", "newsletter")
    with installation.state() as state:
        now = datetime.now(UTC) + timedelta(days=days_later)
        approve_plan(state, settings, str(plan_id), "shell: anna", "seen", now)


def test_a_list_that_others_filled_is_approved_once(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, OTHERS)
    refused = installation.run()
    assert not refused.success
    (problem,) = problems(refused)
    assert "approval: others have filled this list with 5 recipients" in problem
    assert "`campaign-sync approve nord newsletter " in problem
    assert installation.addresses() == sorted(OTHERS)

    planned = plan(installation)
    assert refusing(planned) == {"approval"}
    assert "write your name" in approve_in_ui(installation, planned.plan_id)
    assert "A reason is missing" in approve_in_ui(installation, planned.plan_id, reason=" ", name="Anna")
    assert "There is no plan 17" in approve_in_ui(installation, "17", name="Anna")
    assert "The id of the plan" in approve_in_ui(installation, "", name="Anna")
    with pytest.raises(ApprovalError, match="older than max_snapshot_age"):
        approve(installation, planned.plan_id, days_later=1)
    assert not installation.run().success

    assert approve_in_ui(installation, planned.plan_id, name="Anna", login="anna@example.org") == ""
    assert approve_in_ui(installation, planned.plan_id, name="Ben") == ""
    installation.vendor.put(NEWSLETTER, [{"id": f"{number}@example.org", "attributes": {}} for number in range(20)])
    assert "shrinks by 80% from 25" in problems(installation.run())[0]

    planned = plan(installation)
    assert refusing(planned) == {"approval", "plausible_size"}
    assert approve_in_ui(installation, planned.plan_id, login="anna@example.org") == ""
    installation.day()
    assert installation.addresses() == sorted(ADDRESSES)
    with installation.state() as state:
        approved = state.list_plans.approved("nord", "newsletter")
        assert [str(plan) for plan in approved] == ["proxy: anna@example.org: seen"] * 2
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven
        assert proven.approved_plan_id == planned.plan_id
    with pytest.raises(ApprovalError, match="proven again since"):
        approve(installation, planned.plan_id)

    with installation.crm() as crm:
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id.in_(["c1", "c2"])))
    smaller = plan(installation)
    assert refusing(smaller) == {"plausible_size"}
    printed = campaign_sync(
        installation.folder, "approve", "nord", "newsletter", str(smaller.plan_id), "--reason", "fewer"
    )
    assert printed.returncode == 0, printed.stderr
    assert "is approved by shell: " in printed.stdout
    installation.day()
    assert installation.addresses() == sorted(ADDRESSES[2:])
    with installation.state() as state:
        assert state.replacements.proven_sizes("nord", "newsletter", 9, NEWSLETTER) == [{"contact": 3}]


@pytest.mark.parametrize("change", [pytest.param("recipient_list_id", marks=pytest.mark.long), "attributes"])
def test_other_settings_make_a_plan_void(installation: Installation, change: str) -> None:
    installation.fill_by_hand(NEWSLETTER, OTHERS)
    planned = plan(installation)
    approve(installation, planned.plan_id)
    assert refusing(plan(installation, exit_code=0)) == set()
    attributes = installation.list_settings()["attributes"]
    installation.list_settings()[change] = 100000000012 if change == "recipient_list_id" else {"Ort": "city"}
    with pytest.raises(ApprovalError, match=r"recipient_list_id was changed|the settings of the list, or of the CRM"):
        approve(installation, planned.plan_id)
    if change == "attributes":
        assert not installation.run().success
        installation.list_settings()["attributes"] = attributes
        shutil.copy(installation.folder / "crm.db", installation.folder / "another.db")
        installation.settings["crm"]["url"] = f"sqlite:///{installation.folder / 'another.db'}"
        with pytest.raises(ApprovalError, match="or of the CRM, were changed"):
            approve(installation, planned.plan_id)


def test_always_stores_a_plan_of_each_run_and_applies_it_once_it_is_approved(installation: Installation) -> None:
    installation.day()
    installation.list_settings()["approval"] = "always"
    installation.add_contact("c6", "sixth@example.org")
    waiting = installation.run()
    (problem,) = problems(waiting)
    (plan_id,) = re.findall("these rows aren't those of one; read plan ([0-9a-f-]{36}) on", problem)
    assert (
        f"launch the job nord_approve with it and a reason, or run `campaign-sync approve nord newsletter {plan_id} "
        in problem
    )
    (gate,) = [check for check in waiting.get_asset_check_evaluations() if check.check_name == "gate"]
    assert plan_id in str(gate.description)
    materializations = [event.materialization for event in waiting.all_events if event.is_step_materialization]
    (shown,) = [made for made in materializations if made.asset_key == dg.AssetKey(["nord", "newsletter_plan"])]
    assert shown.metadata["plan"].value == plan_id
    assert shown.metadata["joins"].value == 1
    assert requests(installation) == [], "nothing is approved"
    answer = campaign_sync(installation.folder, "why", "sixth@example.org").stdout
    assert f"waits for the approval of plan {plan_id}" in " ".join(answer.split())

    assert approve_in_ui(installation, plan_id, name="Anna") == ""
    installation.add_contact("c7", "seventh@example.org")
    assert not installation.run().success, "the rows of another run are others than those of the plan"
    assets, tags = requested(installation)
    assert tags[APPLY_TAG] == plan_id
    assert installation.run("nord", assets=[key.path for key in assets], tags=tags).success
    assert installation.addresses() == sorted([*ADDRESSES, "sixth@example.org"])
    assert requests(installation) == [], "it is applied"
    proof = campaign_sync(installation.folder, "prove", "sixth@example.org", "--json").stdout
    (person,) = PersonDocument.model_validate_json(proof).people
    (in_list,) = [entry for entry in person.lists if entry.mandator == "nord"]
    assert in_list.awaited_plan_id is None
    assert in_list.now.proof
    assert in_list.now.proof.approval
    assert in_list.now.proof.approval.plan_id == plan_id
    assert in_list.now.proof.approval.approved_by == "typed: Anna"
    printed = " ".join(campaign_sync(installation.folder, "prove", "sixth@example.org").stdout.split())
    assert f"by typed: Anna: seen plan {plan_id}" in printed
