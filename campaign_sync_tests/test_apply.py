"""`campaign-sync apply`: a stored plan, sent as it was seen, or refused before anything is changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from sqlalchemy import delete, insert

from campaign_sync.cli.documents import RunDocument
from campaign_sync.cli.plan_document import PlanDocument
from campaign_sync.crm.sql.schema import marketing_list, marketing_list_member
from campaign_sync.orchestration.asset_keys import feedback_keys, replacement_keys
from campaign_sync.orchestration.assets.recipient_list import APPLY_TAG, REPLAY_TAG
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync

LIST = dg.AssetKey(["nord", "newsletter_recipient_list"])
APPLY = [*feedback_keys("nord"), LIST]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        running.list_settings()["limits"] = {"max_shrink": 1, "max_growth": 10}
        running.retry_policy = NO_RETRIES
        yield running


def plan(installation: Installation) -> str:
    """Store a plan of the newsletter, and return its id."""
    assert installation.configuration  # writes the file
    done = campaign_sync(installation.folder, "plan", "nord", "--list", "newsletter", "--json", "--save")
    plan_id = PlanDocument.model_validate_json(done.stdout).lists[0].plan_id
    assert plan_id, done.stdout
    return plan_id


def apply(installation: Installation, plan_id: str, *options: str) -> tuple[int, str]:
    assert installation.configuration  # writes the file
    done = campaign_sync(installation.folder, "apply", plan_id, *options)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def refused(installation: Installation, plan_id: str) -> str:
    """Apply a plan, check that nothing was changed at the vendor, and return why."""
    before, clears = installation.addresses(), installation.clears()
    exit_code, printed = apply(installation, plan_id)
    assert exit_code == 1, printed
    assert (installation.addresses(), installation.clears()) == (before, clears)
    return printed


def applying_run(installation: Installation, plan_id: str) -> dg.ExecuteInProcessResult:
    return installation.run("nord", assets=[key.path for key in APPLY], tags={APPLY_TAG: plan_id})


def why_refused(installation: Installation, plan_id: str) -> str:
    """Apply a plan as a run in the UI would, and return what its gate says."""
    before = installation.addresses()
    result = applying_run(installation, plan_id)
    assert not result.success
    assert installation.addresses() == before
    (gate,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "gate"]
    return str(gate.description)


def remove(installation: Installation, address: str) -> None:
    """Take a recipient off the list as another user of the vendor would."""
    with installation.vendor.transaction() as vendor:
        vendor.execute("DELETE FROM recipient WHERE list_id = ? AND id = ?", (NEWSLETTER, address))


def requests(installation: Installation) -> list[dg.RunRequest]:
    """The runs that the repair sensor starts."""
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as context:
        result = installation.sensor("repair")(context)
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


def requested(installation: Installation) -> tuple[list[dg.AssetKey], dict[str, str]]:
    """The assets and tags of the run that the repair sensor starts."""
    (request,) = requests(installation)
    return list(request.asset_selection or []), dict(request.tags)


def test_what_was_seen_is_sent_without_those_who_left_since_and_without_new_people(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.execute(insert(marketing_list).values(id="staff", name="Staff", entity_type="contact", kind="static"))
        crm.execute(
            insert(marketing_list_member).values(marketing_list_id="staff", entity_type="contact", entity_id="c9")
        )
    installation.list_settings()["exclude"] = [{"marketing_list": "Staff"}]
    installation.first_day()
    installation.add_contact("c6", "sixth@example.org")
    installation.consent("c1", "newsletter-nord", "withdrawn", datetime.now(UTC) - timedelta(hours=1))
    file = installation.folder / "plan.json"
    assert installation.configuration
    campaign_sync(installation.folder, "plan", "nord", "--list", "newsletter", "--save", "--output", str(file))

    installation.leave("person2@example.org")
    installation.consent("c3", "newsletter-nord", "withdrawn", datetime.now(UTC) - timedelta(minutes=1))
    with installation.crm() as crm:
        members = marketing_list_member
        crm.execute(insert(members).values(marketing_list_id="staff", entity_type="contact", entity_id="c4"))
        crm.execute(delete(members).where(members.c.marketing_list_id == "nord", members.c.entity_id == "c5"))
    installation.add_contact("c7", "seventh@example.org")
    exit_code, printed = apply(installation, str(file), "--json")

    assert exit_code == 0, printed
    document = RunDocument.model_validate_json(printed)
    assert (document.proven, document.lists[0].in_list) == (True, 2)
    assert installation.addresses() == ["person5@example.org", "sixth@example.org"]
    for address, reason in {
        "person1": "withdrawn",
        "person2": "unsubscribed",
        "person3": "withdrawn",
        "person4": "gate: excluded by",
        "seventh": "didn't name them on 20",
    }.items():
        answer = " ".join(campaign_sync(installation.folder, "why", f"{address}@example.org").stdout.split())
        assert reason in answer, answer
    proof = campaign_sync(installation.folder, "prove", "person5@example.org")
    assert proof.returncode == 0, proof.stdout

    plan_id = PlanDocument.model_validate_json(file.read_text()).lists[0].plan_id
    assert plan_id
    assert "it was applied already, and the list proven" in refused(installation, plan_id)
    assert "it was applied already" in why_refused(installation, plan_id)

    installation.day()
    assert installation.addresses() == ["seventh@example.org", "sixth@example.org"]
    with installation.state() as state:
        applied = state.list_plans.get(plan_id)
        assert applied
        assert applied.snapshot_id in state.replacements.proven_snapshots("nord", "newsletter")
    replayed = campaign_sync(installation.folder, "replay", "nord", "newsletter", "--snapshot", applied.snapshot_id)
    assert replayed.returncode == 0, replayed.stdout
    assert installation.addresses() == ["person5@example.org", "sixth@example.org"]


def test_it_is_refused_where_the_list_its_settings_or_its_proof_changed_and_says_which(
    installation: Installation,
) -> None:
    installation.fill_by_hand(NEWSLETTER, ADDRESSES[:4])
    before_the_first = plan(installation)
    remove(installation, ADDRESSES[0])
    assert "the list holds 3 recipients instead of 4" in why_refused(installation, before_the_first)
    installation.vendor.put(NEWSLETTER, [{"id": "stranger@example.org"}])
    assert "others than we have changed what the list holds" in why_refused(installation, before_the_first)

    installation.day()
    assert "the list was replaced and proven, on" in refused(installation, before_the_first)
    plan_id = plan(installation)
    section = installation.list_settings()
    section["attributes"]["Ort"] = "first_name"
    assert "the settings of the list, or of the CRM, were changed; make a new one with" in refused(
        installation, plan_id
    )
    section["attributes"]["Ort"] = "city"
    section["max_snapshot_age"] = "PT0.001S"
    assert "h old, more than max_snapshot_age 0.0 h" in refused(installation, plan_id)
    section["max_snapshot_age"] = "PT12H"
    installation.vendor.put(NEWSLETTER, [{"id": "signup@example.org"}])
    assert "plan: plan" in why_refused(installation, plan_id)
    remove(installation, "signup@example.org")
    with installation.state() as state, state.locks.acquire(NEWSLETTER, "another-run"):
        assert "another-run" in refused(installation, plan_id)
    frames = Path(installation.settings["storage"]["frames"])
    with installation.state() as state:
        stored = state.list_plans.get(plan_id)
        snapshot = state.snapshots.get(stored.snapshot_id) if stored else None
    assert snapshot
    file = frames / snapshot.file
    content = file.read_bytes()
    file.write_bytes(content + b"more")
    assert "newsletter_recipient_list" in refused(installation, plan_id)
    file.write_bytes(content)

    exit_code, printed = apply(installation, "unknown")
    assert (exit_code, "no plan unknown is stored" in printed) == (1, True)
    (installation.folder / "other.json").write_text("{}")
    exit_code, printed = apply(installation, "other.json")
    assert (exit_code, "isn't a plan" in printed) == (2, True)
    assert not installation.run("nord", assets=[LIST.path], tags={APPLY_TAG: "unknown"}).success
    assert apply(installation, plan_id)[0] == 0


def stop_half_way(installation: Installation, plan_id: str) -> None:
    installation.vendor.fault("addAll3", "drop", skip=2, times=1)
    installation.vendor.fault("addAll3", "fault", times=99, skip=2, arg="WebserviceImplException: unheard of")
    exit_code, printed = apply(installation, plan_id)
    assert exit_code == 1
    assert f"replace it again: `campaign-sync apply {plan_id}`" in printed, printed
    installation.vendor.repair()
    assert len(installation.addresses()) < len(ADDRESSES)


def test_an_apply_that_stopped_half_way_is_repaired_by_the_same_plan_and_by_no_other_while_it_holds(
    installation: Installation,
) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.first_day()
    plan_id, other = plan(installation), plan(installation)
    installation.add_contact("c6", "sixth@example.org")
    stop_half_way(installation, plan_id)

    assert "a later replacement has left the list incomplete" in refused(installation, other)
    installation.leave("person5@example.org")
    assets, tags = requested(installation)
    assert (assets, tags[APPLY_TAG]) == ([LIST], plan_id)
    section = installation.list_settings()
    section["max_snapshot_age"] = "PT0.001S"
    assets, tags = requested(installation)
    assert set(assets) == set(replacement_keys("nord", ["newsletter"]))
    assert not {APPLY_TAG, REPLAY_TAG} & tags.keys()
    del section["max_snapshot_age"]

    result = installation.run("nord", assets=[LIST.path], tags={APPLY_TAG: plan_id})
    assert result.success
    assert installation.addresses() == ADDRESSES[:4]


@pytest.mark.long
def test_after_an_apply_that_stopped_half_way_the_next_day_sends_its_own_snapshot(installation: Installation) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.first_day()
    plan_id = plan(installation)
    installation.add_contact("c6", "sixth@example.org")
    stop_half_way(installation, plan_id)
    installation.day()
    assert installation.addresses() == [*ADDRESSES, "sixth@example.org"]
    assert "the list was replaced and proven" in refused(installation, plan_id)


@pytest.mark.long
def test_a_plan_that_has_grown_too_old_is_refused_by_the_gate(installation: Installation) -> None:
    installation.first_day()
    plan_id = plan(installation)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=30)):
        assert "more than max_snapshot_age" in why_refused(installation, plan_id)


def test_where_approval_is_always_only_the_approved_plan_is_applied(installation: Installation) -> None:
    installation.first_day()
    installation.list_settings()["approval"] = "always"
    plan_id, other = plan(installation), plan(installation)
    assert "every replacement of this list needs an approved plan" in refused(installation, plan_id)
    approved = campaign_sync(installation.folder, "approve", "nord", "newsletter", plan_id, "--reason", "seen")
    assert approved.returncode == 0, approved.stdout + approved.stderr
    assert "every replacement of this list needs an approved plan" in refused(installation, other)

    installation.leave("person5@example.org")
    exit_code, printed = apply(installation, plan_id)
    assert exit_code == 0, printed
    assert installation.addresses() == ADDRESSES[:4]
    assert not installation.run("nord").success, "the plan was of these rows only"
    assert installation.addresses() == ADDRESSES[:4]


@pytest.mark.long
def test_a_list_that_is_incomplete_waits_for_no_approval_where_its_plan_holds_no_more(
    installation: Installation,
) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.first_day()
    section = installation.list_settings()
    section["approval"] = "always"
    plan_id = plan(installation)
    campaign_sync(installation.folder, "approve", "nord", "newsletter", plan_id, "--reason", "seen")
    stop_half_way(installation, plan_id)
    section["max_snapshot_age"] = "PT0.001S"
    _, tags = requested(installation)
    assert APPLY_TAG not in tags
    del section["max_snapshot_age"]
    installation.day()
    assert installation.addresses() == ADDRESSES
