"""`campaign-sync plan`: what the next replacement would do, foreseen by its own steps, with nothing changed."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import update

from campaign_sync.cli.plan_document import PlanDocument
from campaign_sync.crm.sql.schema import contact, marketing_list_member
from campaign_sync.domain.checks import entity_counts
from campaign_sync.domain.selection import REJECTION_COLUMNS
from campaign_sync.orchestration.run_failures import MonitoredAssets
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.state import State
from campaign_sync_tests.installation import ADDRESSES, NEWSLETTER, NORD, Installation, running_installation
from campaign_sync_tests.storage.test_unsaved_memory import contents
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.test_diff import change_much, lines, output_of

CHANGING = {
    *("addAll3", "clear", "removeAll", "setAttributes", "add", "remove", "addAll", "create", "start"),
}


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        assert running.configuration  # writes the file
        yield running


def everything(installation: Installation) -> Sequence[Sequence[object]]:
    """Return all that vendor, CRM and state database hold, and the files, by name and content."""
    settings = installation.settings
    urls = [settings["crm"]["url"], settings["storage"]["state_url"]]
    files = sorted(
        (str(file), file.read_bytes()) for file in Path(settings["storage"]["frames"]).rglob("*") if file.is_file()
    )
    with installation.vendor.transaction() as vendor:
        held = [
            line
            for line in vendor.iterdump()
            if not line.startswith(('INSERT INTO "call"', 'INSERT INTO "list_version"'))
        ]
    state = Path(urls[1].removeprefix("sqlite:///"))
    databases = [list(contents(url).items()) if url != urls[1] or state.exists() else [] for url in urls]
    return [*databases, files, held]


def plan(installation: Installation, *options: str, exit_code: int = 0) -> dict[str, Any]:
    """Return the plan of the newsletter, and check that nothing was changed."""
    assert installation.configuration  # writes the file
    before, calls = everything(installation), len(installation.vendor.calls())
    done = campaign_sync(installation.folder, "plan", "nord", "--list", "newsletter", "--json", *options)
    assert done.returncode == exit_code, done.stderr + done.stdout
    for now, then in zip(everything(installation), before, strict=True):
        assert now == then, [line for line in now if line not in then]
    made = installation.vendor.calls()[calls:]
    assert made
    assert {call.operation for call in made} & CHANGING == set()
    document = PlanDocument.model_validate_json(done.stdout)
    assert not [word for word in (*ADDRESSES, "Groß", "Dörte", "Aachen") if word in done.stdout]
    (newsletter,) = json.loads(document.model_dump_json())["lists"]
    return dict(newsletter)


def assert_is_stored(installation: Installation, plan_id: str, sent: int) -> StoredPlan:
    """Check that a plan is stored with its rows, and that no run takes them for its own."""
    storage = installation.settings["storage"]
    files = FileStorage(storage["frames"])
    with State(storage["state_url"]) as state:
        stored = state.list_plans.get(plan_id)
        assert stored is not None
        snapshot = state.snapshots.get(stored.snapshot_id)
        assert snapshot is not None
        assert state.snapshots.latest("nord", "newsletter") != snapshot
    assert stored.rows == sent
    rows = files.read_frame(snapshot.file, snapshot.digest)
    assert entity_counts(rows) == json.loads(stored.frozen_entity_types)
    assert list(files.read_frame(stored.rejections_file, stored.rejections_digest)) == list(REJECTION_COLUMNS)
    return stored


def test_the_day_after_becomes_what_was_planned(installation: Installation) -> None:
    installation.first_day()
    change_much(installation)
    installation.vendor.unsubscribe(NORD, "person5@example.org")  # it is in no export yet
    installation.list_settings()["limits"] = {"max_shrink": 1}

    planned = plan(installation, "--exit-code", exit_code=3)

    assert planned["changes"]["compared_with"] == "proof"
    assert planned["changes"]["joined"] == 1
    assert {entry["why"].partition(":")[0]: entry["people"] for entry in planned["changes"]["left"]} == {
        "no longer selected": 1,
        "selection": 1,
        "gate": 1,
    }
    assert planned["changes"]["changed_attributes"] == [
        {"attribute": "Ort", "people": 1},
        {"attribute": "Vorname", "people": 1},
    ]
    assert (planned["picked"], planned["selected"], planned["rows"], planned["in_list"]) == (5, 4, 3, 5)
    assert planned["expected_seconds"] is not None

    definitions = installation.definitions
    planned_keys = {spec.key for spec in definitions.resolve_all_asset_specs() if spec.key.path[-1].endswith("_plan")}
    assert planned_keys == {dg.AssetKey(["nord", "newsletter_plan"]), dg.AssetKey(["sued", "newsletter_plan"])}
    assert not planned_keys & {
        key
        for job in definitions.resolve_all_job_defs()
        if not job.name.startswith("__")
        for key in job.asset_layer.selected_asset_keys
    }
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    assert not planned_keys & set(MonitoredAssets.of("nord", assets).assets), "a failed plan is no incident of its list"
    shown = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["nord", "newsletter_plan"])]
    )
    (event,) = shown.get_asset_materialization_events()
    on_page = {name: value.value for name, value in event.materialization.metadata.items()}
    assert on_page["verdict"] == "would run"
    assert_is_stored(installation, str(on_page["plan"]), sent=3)
    assert [on_page[name] for name in ("joins", "leaves", "changes", "rows to send", "in list now")] == [1, 3, 1, 3, 5]

    installation.vendor.repair()
    installation.day()
    printed = lines(output_of(installation))
    assert ["joined", "1"] in printed
    # The vendor refuses one of those that were sent, which only sending shows.
    assert ["left", "4"] in printed
    assert ["vendor: a filter at the vendor refused the row", "1"] in printed

    again = plan(installation, "--exit-code")
    assert again["has_changes"] is False
    assert again["changes"]["joined"] == 1
    assert again["changes"]["refused_before"] == [{"why": "a filter at the vendor refused the row", "people": 1}]


def test_before_the_first_run_a_list_that_others_filled_is_read_back(installation: Installation) -> None:
    installation.fill_by_hand(NEWSLETTER, [*ADDRESSES[:4], "stranger@example.org"])

    planned = plan(installation)

    assert planned["verdict"] == "would_run"
    assert planned["changes"]["compared_with"] == "list"
    assert planned["changes"]["joined"] == 1
    assert planned["changes"]["changed"] == 4
    assert [(entry["people"], entry["why"].partition(":")[0]) for entry in planned["changes"]["left"]] == [
        (1, "names no record of the CRM")
    ]
    assert planned["plan_id"] is None
    saved = campaign_sync(installation.folder, "plan", "nord", "--list", "newsletter", "--json", "--save")
    plan_id = PlanDocument.model_validate_json(saved.stdout).lists[0].plan_id
    assert plan_id is not None
    stored = assert_is_stored(installation, plan_id, sent=5)
    assert stored.contents_digest
    (feedback,) = [check for check in planned["checks"] if check["verdict"] == "condition"]
    assert feedback["name"] == "feedback"

    installation.list_settings()["strategy"] = "differential"
    installation.vendor.put(NEWSLETTER, [{"id": f"{number}@example.org", "attributes": {}} for number in range(20)])
    refused = plan(installation, exit_code=1)
    refusing = {check["name"] for check in refused["checks"] if check["verdict"] == "refuses"}
    assert refusing == {"plausible_size", "strategy"}
    assert refused["changes"]["joined"] == 5


def test_a_plan_that_would_be_refused_says_why_and_what_would_change(installation: Installation) -> None:
    installation.first_day()
    with installation.crm() as crm:
        crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id.in_(["c1", "c2"])))
        crm.execute(update(contact).where(contact.c.id == "c3").values(city="Aachen"))
    mailing = datetime.now(UTC) + timedelta(minutes=20)
    installation.vendor.add_mailing(NORD, 77, "News", status="NEW", list_ids=[NEWSLETTER], scheduled_at=mailing)

    planned = plan(installation, "--exit-code", exit_code=1)

    assert planned["verdict"] == "would_be_refused"
    refusing = {check["name"] for check in planned["checks"] if check["verdict"] == "refuses"}
    assert refusing == {"plausible_size"}
    assert planned["changes"]["left"] == [{"why": "no longer selected", "people": 2}]
    mailings = next(check for check in planned["checks"] if check["name"] == "mailings")
    assert (mailings["verdict"], "starts at" in mailings["summary"]) == ("warning", True)

    done = campaign_sync(installation.folder, "plan", "nord")
    assert done.returncode == 1
    assert "nord/newsletter (recipient list 100000000011): would wait for an approval" in done.stdout
    assert "✗ plausible_size: the list shrinks by 40 %" in done.stdout.replace("40%", "40 %")


def test_a_list_that_drifted_is_read_back_and_one_without_opt_in_would_fail(installation: Installation) -> None:
    installation.first_day()
    installation.vendor.put(NEWSLETTER, [{"id": "signup@example.org"}])

    file = installation.folder / "plan.json"
    planned = plan(installation, "--output", str(file))
    assert planned["changes"]["compared_with"] == "list"
    assert [entry["people"] for entry in planned["changes"]["left"]] == [1]
    assert PlanDocument.model_validate_json(file.read_text(encoding="utf-8")).mandator == "nord"
    assert file.stat().st_mode & 0o077 == 0

    installation.list_settings()["opt_in_id"] = "unknown"
    assert "the CRM knows no opt-in 'unknown'" in plan(installation, exit_code=1)["problem"]


def test_a_state_database_that_cant_be_used_exits_with_2(installation: Installation) -> None:
    installation.settings["storage"]["state_url"] = f"sqlite:///{installation.folder / 'no' / 'such' / 'folder.db'}"
    (installation.folder / "no").write_text("a file, not a folder")
    assert installation.configuration

    done = campaign_sync(installation.folder, "plan", "nord", new_python=True)
    assert done.returncode == 2
    assert "(storage.state_url) can't be" in done.stderr
    assert campaign_sync(installation.folder, "plan", "nord", "--list", "news").returncode == 2


def test_a_missing_secret_exits_with_2_as_everywhere_and_a_vendor_out_of_reach_with_1(
    installation: Installation,
) -> None:
    installation.settings["mandators"]["nord"]["password"] = {"env": "NOWHERE_SET"}
    assert installation.configuration
    missing = campaign_sync(installation.folder, "plan", "nord")
    assert (missing.returncode, "NOWHERE_SET is not set" in missing.stderr) == (2, True)

    installation.settings["mandators"]["nord"]["password"] = {"env": "PASSWORD_OF_BOTH"}
    installation.settings["optimizely"]["base_url"] = "http://127.0.0.1:9/soap11"
    assert installation.configuration
    assert campaign_sync(installation.folder, "plan", "nord").returncode == 1
