"""What a person at a terminal sees. Every command runs as a process of its own, as it would for them.

Each is started once by a new Python, which shows that it imports what it needs; see terminal.py for the others.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync_tests import terminal
from campaign_sync_tests.installation import (
    ATTRIBUTES,
    ENVIRONMENT,
    LONG_AGO,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    Installation,
    running_installation,
)
from campaign_sync_tests.waiting import PATIENCE

pytestmark = pytest.mark.thorough

CONFIGURATION = "campaign_sync.yaml"


@pytest.fixture
def shop(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as built:
        assert built.configuration  # writes the file
        yield built


def campaign_sync(folder: Path, *arguments: str, anew: bool = False) -> "subprocess.CompletedProcess[str]":
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "CAMPAIGN_SYNC_CONFIG")
    }
    run = terminal.run_in_new_python if anew else terminal.run
    return run(arguments, folder, environment | ENVIRONMENT | {"COLUMNS": "120"})


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


@pytest.mark.smoke
@pytest.mark.two_lists
def test_run_replaces_the_lists_tells_so_and_exits_with_0(shop: Installation) -> None:
    done = campaign_sync(shop.folder, "run", "nord", anew=True)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = [cells(line) for line in done.stdout.splitlines()]
    assert ["list", "selected", "suppressed", "rejected", "sent", "in list", "proof"] in lines
    assert ["newsletter", "5", "0", "0", "5", "5", "✓ 5 equal"] in lines
    assert ["products", "5", "0", "0", "5", "5", "✓ 5 equal"] in lines
    assert len(shop.addresses(NEWSLETTER)) == 5
    (report,) = re.findall(r"report: (.+)", done.stdout)
    assert "Beide Listen sind bereit" in Path(report).read_text()


@pytest.mark.two_lists
def test_run_with_list_touches_that_list_only(shop: Installation) -> None:
    done = campaign_sync(shop.folder, "run", "nord", "--list", "products")

    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.list_id for call in shop.vendor.calls("clear")] == [PRODUCTS]


def test_a_refused_list_exits_with_1_and_one_sentence(shop: Installation) -> None:
    shop.list_settings()["recipient_list_id"] = 4711
    assert shop.configuration

    done = campaign_sync(shop.folder, "run", "nord")

    assert done.returncode == 1
    assert ["newsletter", "5", "0", "0", "–", "–", "not touched"] in [cells(line) for line in done.stdout.splitlines()]
    assert done.stdout.count("4711") == 1
    assert "✗ nord/newsletter_snapshot: recipient list 4711 isn't one of mandator 8100's" in done.stdout


def test_a_wrong_password_is_tried_once_and_told_once(shop: Installation) -> None:
    shop.vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], "changed")

    done = campaign_sync(shop.folder, "run", "nord")

    assert done.returncode == 1
    assert done.stdout.count("doesn't let this user in") == 1
    assert len(shop.vendor.calls("login")) == 1


def test_a_mistake_in_the_configuration_exits_with_2_and_its_place(shop: Installation) -> None:
    shop.list_settings()["atributes"] = {}
    (shop.folder / CONFIGURATION).write_text("mandators: {nord: {}}")

    done = campaign_sync(shop.folder, "run", "nord")

    assert done.returncode == 2
    assert f"{CONFIGURATION}:1:13 mandators.nord.mandator_id: this key is required" in done.stderr


@pytest.mark.two_lists
@pytest.mark.parametrize(
    ("arguments", "named"), [(["west"], "it has nord, sued"), (["nord", "--list", "x"], "products")]
)
def test_an_unknown_name_exits_with_2_and_the_known_ones(shop: Installation, arguments: list[str], named: str) -> None:
    done = campaign_sync(shop.folder, "run", *arguments)

    assert done.returncode == 2
    assert named in done.stderr


@pytest.mark.two_lists
def test_check_tells_all_findings_at_once_and_changes_nothing(shop: Installation) -> None:
    shop.list_settings()["recipient_list_id"] = 4711
    shop.list_settings("nord", "products")["attributes"]["Lieblingsfarbe"] = "city"
    shop.list_settings("sued")["opt_in_id"] = "newsletter-west"
    assert shop.configuration

    done = campaign_sync(shop.folder, "check", anew=True)

    assert done.returncode == 1
    assert all(named in done.stdout for named in ("4711", "Lieblingsfarbe", "newsletter-west"))
    changing = {"addAll3", "clear", "removeUnsubscribed", "removeBounced", "removeBlacklisted"}
    assert not changing & {call.operation for call in shop.vendor.calls()}


def test_check_is_content_with_a_good_configuration(shop: Installation) -> None:
    done = campaign_sync(shop.folder, "check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "names 5, 5 of them with newsletter-nord" in " ".join(done.stdout.split())


@pytest.mark.two_lists
def test_check_lists_the_mailings_of_every_type_that_use_a_list(shop: Installation) -> None:
    for number, (mailing_type, status) in enumerate(
        [("regular", "NEW"), ("event", "SENDING"), ("campaign", "ACTIVATION_REQUIRED"), ("split", "DONE")], start=1
    ):
        name = f"Mailing{number}"
        shop.vendor.add_mailing(NORD, number, name, mailing_type=mailing_type, status=status, list_ids=[NEWSLETTER])
    shop.vendor.add_mailing(NORD, 9, "Willkommen", mailing_type="campaign", status="SENDING", list_ids=[PRODUCTS])

    done = campaign_sync(shop.folder, "check")

    told = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0
    used = (
        "used by regular 1 “Mailing1” (NEW), campaign 3 “Mailing3” (ACTIVATION_REQUIRED), event 2 “Mailing2” (SENDING)"
    )
    assert used in told
    assert "used by campaign 9 “Willkommen” (SENDING); a Smart Campaign that is being sent may find it empty" in told
    assert "strategy: differential" in told


@pytest.mark.two_lists
@pytest.mark.parametrize("configured", ["client", "per_list"])
def test_check_proposes_unsubscribe_lists_per_list_where_the_vendor_has_them(
    shop: Installation, configured: str
) -> None:
    shop.settings["mandators"]["nord"]["unsubscribe_lists"] = configured
    assert shop.configuration
    shop.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org", "person3@example.org")

    done = campaign_sync(shop.folder, "check")

    told = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0
    assert ("set mandators.nord.unsubscribe_lists: per_list" in told) == (configured == "client")
    assert ("2 left other recipient lists" if configured == "client" else "2 only other recipient lists") in told
    assert "isn't documented" in told


def test_a_table_of_exports_that_is_missing_is_told_by_check_and_stops_no_run(shop: Installation) -> None:
    shop.settings["mandators"]["sued"]["crm_export"] = {"table": "nightly"}
    assert shop.configuration

    assert "export_log" in campaign_sync(shop.folder, "check").stdout
    shop.day("sued")
    shop.day("nord")


def test_crm_init_creates_what_check_asks_for(shop: Installation) -> None:
    shop.settings["crm"]["url"] = f"sqlite:///{shop.folder / 'new.db'}"
    assert shop.configuration

    assert "campaign-sync crm init" in " ".join(campaign_sync(shop.folder, "check").stdout.split())
    assert campaign_sync(shop.folder, "crm", "init", "--url", shop.settings["crm"]["url"], anew=True).returncode == 0
    assert "has the contract's tables" in campaign_sync(shop.folder, "check").stdout
    assert not SqlCrm(shop.settings["crm"]["url"]).takes_responses()
    campaign_sync(shop.folder, "crm", "init", "--url", shop.settings["crm"]["url"], "--responses")
    assert SqlCrm(shop.settings["crm"]["url"]).takes_responses()


def test_config_schema_is_json_that_knows_the_sections(tmp_path: Path) -> None:
    schema = json.loads(campaign_sync(tmp_path, "config", "schema", anew=True).stdout)

    assert {"optimizely", "crm", "storage", "mandators"} <= set(schema["properties"])


def test_the_sandbox_alone_serves_wsdls_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "campaign_sync", "sandbox", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{base_url}/RpcSession?wsdl", timeout=PATIENCE) as answer:
            assert b"<wsdl:definitions" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


KILLED_BEFORE_ANYTHING_IS_OPENED = """
import os, signal, sys
from campaign_sync.orchestration import resources
from campaign_sync.cli import main
resources.Resources.__init__ = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["campaign-sync", "run", "nord"]
main()
"""


def test_a_run_that_was_killed_the_moment_it_began_holds_up_no_other(shop: Installation) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "CAMPAIGN"))}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_ANYTHING_IS_OPENED],
        cwd=shop.folder,
        env=environment | ENVIRONMENT,
        check=False,
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL

    done = campaign_sync(shop.folder, "run", "nord")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_taken_port_is_told_before_a_day_is_played(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = campaign_sync(tmp_path, "demo", "--ui", "--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "is taken" in done.stderr
    assert not (tmp_path / ".campaign_sync").exists()


def test_two_demonstrations_begun_at_once_play_a_first_and_a_second_day(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(campaign_sync, tmp_path, "demo", anew=True) for _ in range(2)]
    both = [each.result() for each in begun]

    assert [done.returncode for done in both] == [0, 0], [done.stdout + done.stderr for done in both]
    days = {re.findall(r"Day (\d+)", done.stdout)[0]: done.stdout.splitlines() for done in both}
    assert sorted(days) == ["1", "2"]
    tables = [[cells(line) for line in days[day] if "equal" in line] for day in ("1", "2")]
    for first, second in zip(*tables, strict=True):
        name, selected, suppressed, rejected, sent, in_list, proof = second
        numbers = [int(text.replace(",", "")) for text in (selected, suppressed, rejected, in_list)]
        assert numbers[0] == sum(numbers[1:]), "everybody is in the list or in the ledger"
        assert (name, proof) == (first[0], f"✓ {in_list} equal")
        assert suppressed != first[2]
        assert int(sent.replace(",", "")) >= numbers[3]


def halve(shop: Installation) -> None:
    with shop.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id > 'c2'")


def test_an_implausible_size_is_accepted_once_with_a_reason(shop: Installation) -> None:
    shop.day("nord")
    halve(shop)

    refused = campaign_sync(shop.folder, "run", "nord", "--list", "newsletter")
    accepted = campaign_sync(shop.folder, "run", "nord", "--list", "newsletter", "--accept-size", "Aktion beendet")

    assert refused.returncode == 1
    assert "max_shrink" in refused.stdout
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert shop.addresses() == ["person1@example.org", "person2@example.org"]


@pytest.mark.parametrize("option", ["--accept-size", "--accept-withdrawals"])
@pytest.mark.parametrize("lists", [["because"], [" ", "--list", "newsletter"]])
def test_nothing_is_accepted_without_a_reason_and_named_lists(
    shop: Installation, option: str, lists: list[str]
) -> None:
    done = campaign_sync(shop.folder, "run", "nord", option, *lists)

    assert done.returncode == 2
    assert f"{option} needs a reason" in done.stderr


def test_withdrawals_that_vanished_are_accepted_once_with_a_reason(shop: Installation) -> None:
    for number in range(10):
        shop.add_contact(f"w{number}", f"w{number}@example.org")
        shop.consent(f"w{number}", "newsletter-nord", "withdrawn", LONG_AGO + timedelta(days=1))
    shop.list_settings()["limits"] = {"max_growth": 9}
    shop.day("nord")
    with shop.crm() as crm:
        crm.exec_driver_sql("DELETE FROM consent_event WHERE kind = 'withdrawn'")

    refused = campaign_sync(shop.folder, "run", "nord", "--list", "newsletter")
    accepted = campaign_sync(shop.folder, "run", "nord", "--list", "newsletter", "--accept-withdrawals", "Fehlimport")

    assert refused.returncode == 1
    assert "withdrawals – consent_event shows 10 people as granted" in refused.stdout
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert len(shop.addresses()) == 15


def test_replay_brings_back_the_last_proven_snapshot_without_those_who_left_since(shop: Installation) -> None:
    shop.day("nord")
    shop.vendor.unsubscribe(NORD, "person3@example.org")
    shop.fill_by_hand(NEWSLETTER, ["stranger@example.com"])

    done = campaign_sync(shop.folder, "replay", "nord", "newsletter", anew=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.addresses() == [f"person{number}@example.org" for number in (1, 2, 4, 5)]
    assert "✓ 4 equal" in done.stdout


def test_only_proven_snapshots_are_replayed(shop: Installation) -> None:
    never = campaign_sync(shop.folder, "replay", "nord", "newsletter")
    shop.day("nord")
    unknown = campaign_sync(shop.folder, "replay", "nord", "newsletter", "--snapshot", "4711")

    assert (never.returncode, unknown.returncode) == (1, 1)
    assert "has no proven snapshot; only those can be replayed" in never.stderr
    assert "has no proven snapshot 4711; the newest are" in unknown.stderr


def test_check_gives_a_list_that_was_refused_for_good_its_second_chance(shop: Installation) -> None:
    canary = "canary@example.org"
    shop.settings["mandators"]["nord"]["canary_address"] = canary
    shop.vendor.unsubscribe(NORD, canary)
    shop.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    shop.run("nord")

    still = campaign_sync(shop.folder, "check")
    shop.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES)
    mended = campaign_sync(shop.folder, "check")

    assert still.returncode == 1
    assert "opt-in list" in still.stdout
    assert mended.returncode == 0, mended.stdout
    assert "a canary shows it to be a regular list" in " ".join(mended.stdout.split())
    shop.day("nord")


@pytest.mark.parametrize("before", [(), ("frames", ".campaign_sync")], ids=["new folders", "folders that were there"])
def test_what_holds_people_is_for_its_owner_alone(shop: Installation, before: tuple[str, ...]) -> None:
    old = os.umask(0)
    try:
        for name in before:
            (shop.folder / name).mkdir(mode=0o755)
        there = set(shop.folder.rglob("*"))
        campaign_sync(shop.folder, "run", "nord")
        campaign_sync(shop.folder, "run", "nord")
        campaign_sync(shop.folder, "diff", "nord", "newsletter", "--csv", "who.csv")
    finally:
        os.umask(old)

    written = set(shop.folder.rglob("*")) - there
    kinds = {"".join(path.suffixes[-1:]) for path in written}
    assert {".parquet", ".csv", ".json", ".db", ".html"} <= kinds
    public = {path for path in written if "reports" in path.parts}
    open_to_others = [path for path in written - public if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in public), "a web server may show the reports"


def test_dg_finds_the_definitions_once_it_is_told_which_instance_to_use(shop: Installation) -> None:
    campaign_sync(shop.folder, "run", "nord")
    checkout = Path(__file__).parents[1]
    environment = os.environ | ENVIRONMENT
    environment |= {
        "CAMPAIGN_SYNC_CONFIG": str(shop.folder / CONFIGURATION),
        "DAGSTER_HOME": str(shop.folder / ".campaign_sync/dagster"),
    }
    dg = Path(sys.executable).with_name("dg")

    done = subprocess.run([dg, "check", "defs"], cwd=checkout, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
