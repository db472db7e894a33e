"""The commands as a person at a terminal runs them: each in a process of its own.

Once, each is started by a new Python, which shows that it imports what it needs; see terminal.py for the others.
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
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

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
from campaign_sync_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.thorough

CONFIGURATION = "campaign_sync.yaml"


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        assert running.configuration  # writes the file
        yield running


def campaign_sync(folder: Path, *arguments: str, new_python: bool = False) -> "subprocess.CompletedProcess[str]":
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "CAMPAIGN_SYNC_CONFIG")
    }
    run = terminal.run_in_new_python if new_python else terminal.run
    return run(arguments, folder, environment | ENVIRONMENT | {"COLUMNS": "120"})


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


@pytest.mark.smoke
@pytest.mark.two_lists
def test_run_replaces_the_lists_and_reports_it(installation: Installation) -> None:
    done = campaign_sync(installation.folder, "run", "nord", new_python=True)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout  # cron would mail what is on stderr
    lines = [cells(line) for line in done.stdout.splitlines()]
    assert ["list", "selected", "suppressed", "rejected", "sent", "in list", "proof"] in lines
    assert ["newsletter", "5", "0", "0", "5", "5", "✓ 5 equal"] in lines
    assert ["products", "5", "0", "0", "5", "5", "✓ 5 equal"] in lines
    assert len(installation.addresses(NEWSLETTER)) == 5
    (report,) = re.findall(r"report: (.+)", done.stdout)
    assert "Beide Listen sind bereit" in Path(report).read_text()


@pytest.mark.two_lists
def test_run_touches_only_lists_that_match_and_those_that_are_not_proven(installation: Installation) -> None:
    done = campaign_sync(installation.folder, "run", "nord", "--list", "prod*")

    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.list_id for call in installation.vendor.calls("clear")] == [PRODUCTS]

    again = campaign_sync(installation.folder, "run", "nord", "--failed", "--list", "[o-z]*")
    assert (again.returncode, "Nothing to do: these lists of nord were proven after" in again.stdout) == (0, True)
    others = campaign_sync(installation.folder, "run", "nord", "--failed")
    assert others.returncode == 0, others.stdout + others.stderr
    assert [call.list_id for call in installation.vendor.calls("clear")] == [PRODUCTS, NEWSLETTER]


def test_a_refused_list_exits_with_1_and_one_sentence(installation: Installation) -> None:
    installation.list_settings()["recipient_list_id"] = 4711
    assert installation.configuration

    done = campaign_sync(installation.folder, "run", "nord")

    assert done.returncode == 1
    assert ["newsletter", "5", "0", "0", "–", "–", "not touched"] in [cells(line) for line in done.stdout.splitlines()]
    assert done.stdout.count("4711") == 1
    assert "✗ nord/newsletter_snapshot: recipient list 4711 isn't one of mandator 8100's" in done.stdout


def test_a_wrong_password_is_tried_once_and_reported_once(installation: Installation) -> None:
    installation.vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], "changed")

    done = campaign_sync(installation.folder, "run", "nord")

    assert done.returncode == 1
    assert done.stdout.count("doesn't let this user in") == 1
    assert len(installation.vendor.calls("login")) == 1


def test_a_mistake_in_the_configuration_exits_with_2_and_its_place(installation: Installation) -> None:
    installation.list_settings()["atributes"] = {}
    (installation.folder / CONFIGURATION).write_text("mandators: {nord: {}}")

    done = campaign_sync(installation.folder, "run", "nord")

    assert done.returncode == 2
    assert f"{CONFIGURATION}:1:13 mandators.nord.mandator_id: this key is required" in done.stderr


@pytest.mark.long
@pytest.mark.two_lists
def test_a_broken_mandator_exits_with_2_and_its_mistakes_and_stops_no_other(installation: Installation) -> None:
    installation.list_settings("sued")["kind"] = "optin"
    path = installation.folder / CONFIGURATION
    path.write_text(yaml.safe_dump(installation.settings))
    mistake = "mandators.sued.lists.newsletter.kind: the value must be 'regular'"

    refused = campaign_sync(installation.folder, "run", "sued")
    assert (refused.returncode, mistake in refused.stderr) == (2, True)
    done = campaign_sync(installation.folder, "run", "nord", "--list", "newsletter")
    assert done.returncode == 0, done.stderr
    checked = campaign_sync(installation.folder, "check", new_python=True)
    assert checked.returncode == 2
    assert mistake in " ".join(checked.stdout.replace("│", "").split())
    assert "logged in to mandator 8100" in checked.stdout
    shown = campaign_sync(installation.folder, "why", "person1@example.org")
    assert (shown.returncode, "nord/newsletter" in shown.stdout, mistake in shown.stderr) == (2, True, True)


@pytest.mark.two_lists
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["west"], "it has nord, sued"),
        (["nord", "--list", "x*"], "no list x* in nord; it has newsletter, products"),
        (["nord", "--list", "news*", "--accept-size", "Sommer"], "by their full names"),
    ],
)
def test_an_unknown_name_exits_with_2_and_the_known_ones(
    installation: Installation, arguments: list[str], named: str
) -> None:
    done = campaign_sync(installation.folder, "run", *arguments)

    assert done.returncode == 2
    assert named in done.stderr


@pytest.mark.two_lists
def test_check_reports_all_findings_at_once_and_changes_nothing(installation: Installation) -> None:
    installation.list_settings()["recipient_list_id"] = 4711
    installation.list_settings("nord", "products")["attributes"]["Lieblingsfarbe"] = "city"
    installation.list_settings("sued")["opt_in_id"] = "newsletter-west"
    assert installation.configuration

    done = campaign_sync(installation.folder, "check", new_python=True)

    assert done.returncode == 1
    assert all(named in done.stdout for named in ("4711", "Lieblingsfarbe", "newsletter-west"))
    changing = {"addAll3", "clear", "removeUnsubscribed", "removeBounced", "removeBlacklisted"}
    assert not changing & {call.operation for call in installation.vendor.calls()}


def test_check_accepts_a_good_configuration(installation: Installation) -> None:
    done = campaign_sync(installation.folder, "check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "names 5, 5 of them with newsletter-nord" in " ".join(done.stdout.split())


@pytest.mark.two_lists
def test_check_lists_the_mailings_of_every_type_that_use_a_list(installation: Installation) -> None:
    for number, (mailing_type, status) in enumerate(
        [("regular", "NEW"), ("event", "SENDING"), ("campaign", "ACTIVATION_REQUIRED"), ("split", "DONE")], start=1
    ):
        name = f"Mailing{number}"
        installation.vendor.add_mailing(
            NORD, number, name, mailing_type=mailing_type, status=status, list_ids=[NEWSLETTER]
        )
    installation.vendor.add_mailing(
        NORD, 9, "Willkommen", mailing_type="campaign", status="SENDING", list_ids=[PRODUCTS]
    )

    done = campaign_sync(installation.folder, "check")

    printed = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0
    used = (
        "used by regular 1 “Mailing1” (NEW), campaign 3 “Mailing3” (ACTIVATION_REQUIRED), event 2 “Mailing2” (SENDING)"
    )
    assert used in printed
    assert "used by campaign 9 “Willkommen” (SENDING); a Smart Campaign that is being sent may find it empty" in printed
    assert "strategy: differential" in printed


@pytest.mark.two_lists
@pytest.mark.parametrize("configured", ["client", "per_list"])
def test_check_proposes_unsubscribe_lists_per_list_where_the_vendor_has_them(
    installation: Installation, configured: str
) -> None:
    installation.settings["mandators"]["nord"]["unsubscribe_lists"] = configured
    assert installation.configuration
    installation.vendor.unsubscribe_from_list(PRODUCTS, "person2@example.org", "person3@example.org")

    done = campaign_sync(installation.folder, "check")

    printed = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0
    assert ("set mandators.nord.unsubscribe_lists: per_list" in printed) == (configured == "client")
    assert ("2 left other recipient lists" if configured == "client" else "2 only other recipient lists") in printed
    assert "isn't documented" in printed


@pytest.mark.long
def test_a_missing_table_of_exports_is_reported_by_check_and_stops_no_run(installation: Installation) -> None:
    installation.settings["mandators"]["sued"]["crm_export"] = {"table": "nightly"}
    assert installation.configuration

    assert "export_log" in campaign_sync(installation.folder, "check").stdout
    installation.day("sued")
    installation.day("nord")


def test_crm_init_creates_what_check_asks_for(installation: Installation) -> None:
    installation.settings["crm"]["url"] = f"sqlite:///{installation.folder / 'new.db'}"
    assert installation.configuration

    assert "campaign-sync crm init" in " ".join(campaign_sync(installation.folder, "check").stdout.split())
    assert (
        campaign_sync(
            installation.folder, "crm", "init", "--url", installation.settings["crm"]["url"], new_python=True
        ).returncode
        == 0
    )
    assert "has the contract's tables" in campaign_sync(installation.folder, "check").stdout
    assert not SqlCrm(installation.settings["crm"]["url"]).takes_responses()
    campaign_sync(installation.folder, "crm", "init", "--url", installation.settings["crm"]["url"], "--responses")
    assert SqlCrm(installation.settings["crm"]["url"]).takes_responses()


def test_config_schema_is_json_with_all_sections(tmp_path: Path) -> None:
    schema = json.loads(campaign_sync(tmp_path, "config", "schema", new_python=True).stdout)

    assert {"optimizely", "crm", "storage", "mandators"} <= set(schema["properties"])


def test_the_sandbox_serves_wsdls_until_it_is_terminated(tmp_path: Path) -> None:
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
resources.RunResource.yield_for_execution = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["campaign-sync", "run", "nord"]
main()
"""


@pytest.mark.long
def test_a_run_killed_before_it_opened_anything_blocks_no_other(installation: Installation) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "CAMPAIGN"))}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_ANYTHING_IS_OPENED],
        cwd=installation.folder,
        env=environment | ENVIRONMENT,
        check=False,
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL

    done = campaign_sync(installation.folder, "run", "nord")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_port_in_use_is_reported_before_a_day_is_simulated(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = campaign_sync(tmp_path, "demo", "--ui", "--port", str(server.getsockname()[1]))

    assert done.returncode == 2
    assert "is in use" in done.stderr
    assert not (tmp_path / ".campaign_sync").exists()


def test_two_demonstrations_started_at_once_simulate_two_successive_days(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        started = [pool.submit(campaign_sync, tmp_path, "demo", "--days", "2", new_python=True) for _ in range(2)]
    both = [future.result() for future in started]

    assert [done.returncode for done in both] == [0, 0], [done.stdout + done.stderr for done in both]
    days = {re.findall(r"Day (\d+)", done.stdout)[0]: done.stdout.splitlines() for done in both}
    assert sorted(days) == ["14", "15"]
    tables = [[cells(line) for line in days[day] if "equal" in line] for day in ("14", "15")]
    assert [row[0] for row in tables[0]] == ["newsletter", "produktnews", "newsletter"], "the fourth is refused"
    of_first = {row[1]: row for row in tables[0]}
    for name, selected, suppressed, rejected, sent, in_list, proof in tables[1]:
        numbers = [int(text.replace(",", "")) for text in (selected, suppressed, rejected, in_list)]
        assert numbers[0] == sum(numbers[1:]), "every selected person is in the list or rejected"
        assert proof == f"✓ {in_list} equal", name
        assert int(sent.replace(",", "")) >= numbers[3]
        assert selected not in of_first or suppressed != of_first[selected][2]


@pytest.mark.parametrize(
    ("ending", "of_group"),
    [
        (signal.SIGTERM, False),
        *(pytest.param(*end, marks=pytest.mark.long) for end in ((signal.SIGINT, True), (signal.SIGKILL, False))),
    ],
)
def test_a_demonstration_that_is_ended_at_its_beginning_leaves_no_process(
    tmp_path: Path, ending: signal.Signals, of_group: bool
) -> None:
    with (tmp_path / "output").open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "campaign_sync", "demo"],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until(lambda: len(processes_in(tmp_path)) >= 3, lambda: demo.poll() is None)  # its two workers have begun
    if of_group:
        os.killpg(demo.pid, ending)
    else:
        demo.send_signal(ending)

    assert demo.wait(PATIENCE) == (130 if ending is signal.SIGINT else -ending)
    until(lambda: not processes_in(tmp_path))
    assert "Traceback" not in (tmp_path / "output").read_text()


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose working directory is the folder."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended just now
            if (process / "cwd").resolve() == folder.resolve():
                processes.append(process.name)
    return processes


@pytest.mark.long
def test_the_demonstration_has_fourteen_days_of_their_own_and_answers_questions_about_them(tmp_path: Path) -> None:
    demo = campaign_sync(tmp_path, "demo", new_python=True)

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "partner_snapshot: plausible_size – the list shrinks by 41% " in demo.stdout
    (proof,) = re.findall(r"demo (prove \S+ --at \S+)", demo.stdout)
    (why,) = re.findall(r"demo (why \S+)", demo.stdout)
    answers = {question: campaign_sync(tmp_path, "demo", *question.split()) for question in (why, proof)}
    assert "✗ no   why      selection: unsubscribed" in answers[why].stdout
    assert re.search(r"nord/newsletter +✓ yes", answers[proof].stdout)
    days = [campaign_sync(tmp_path, "demo", "diff", "nord", "newsletter", str(day)) for day in last_days(13)]
    assert [done.returncode for done in days] == [0] * 13, "a proof of each day"
    accepted = campaign_sync(
        tmp_path, "demo", "run", "sued", "--list", "partner", "--accept-size", "Die Partner sind jetzt woanders"
    )
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


def test_a_question_about_no_demonstration_says_how_to_start_it(tmp_path: Path) -> None:
    done = campaign_sync(tmp_path, "demo", "why", "person@example.org")

    assert done.returncode == 2
    assert "run `campaign-sync demo` first" in done.stderr


def last_days(number: int) -> list[date]:
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    return [today - timedelta(days=ago) for ago in range(number, 0, -1)]


def halve(installation: Installation) -> None:
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM marketing_list_member WHERE entity_id > 'c2'")


def test_an_implausible_size_is_accepted_once_with_a_reason(installation: Installation) -> None:
    installation.first_day("nord")
    halve(installation)

    refused = campaign_sync(installation.folder, "run", "nord", "--list", "newsletter")
    accepted = campaign_sync(
        installation.folder, "run", "nord", "--list", "newsletter", "--accept-size", "Aktion beendet"
    )

    assert refused.returncode == 1
    assert "max_shrink" in refused.stdout
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert installation.addresses() == ["person1@example.org", "person2@example.org"]


@pytest.mark.parametrize("option", ["--accept-size", "--accept-withdrawals"])
@pytest.mark.parametrize("lists", [["because"], [" ", "--list", "newsletter"]])
def test_accepting_needs_a_reason_and_named_lists(installation: Installation, option: str, lists: list[str]) -> None:
    done = campaign_sync(installation.folder, "run", "nord", option, *lists)

    assert done.returncode == 2
    assert f"{option} needs a reason" in done.stderr


@pytest.mark.long
def test_vanished_withdrawals_are_accepted_once_with_a_reason(installation: Installation) -> None:
    for number in range(10):
        installation.add_contact(f"w{number}", f"w{number}@example.org")
        installation.consent(f"w{number}", "newsletter-nord", "withdrawn", LONG_AGO + timedelta(days=1))
    installation.list_settings()["limits"] = {"max_growth": 9}
    installation.day("nord")
    with installation.crm() as crm:
        crm.exec_driver_sql("DELETE FROM consent_event WHERE kind = 'withdrawn'")

    refused = campaign_sync(installation.folder, "run", "nord", "--list", "newsletter")
    accepted = campaign_sync(
        installation.folder, "run", "nord", "--list", "newsletter", "--accept-withdrawals", "Fehlimport"
    )

    assert refused.returncode == 1
    assert "withdrawals – consent_event shows 10 people as granted" in refused.stdout
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert len(installation.addresses()) == 15


def test_replay_restores_the_last_proven_snapshot_without_those_who_unsubscribed_since(
    installation: Installation,
) -> None:
    installation.first_day("nord")
    installation.vendor.unsubscribe(NORD, "person3@example.org")
    installation.fill_by_hand(NEWSLETTER, ["stranger@example.com"])

    done = campaign_sync(installation.folder, "replay", "nord", "newsletter", new_python=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert installation.addresses() == [f"person{number}@example.org" for number in (1, 2, 4, 5)]
    assert "✓ 4 equal" in done.stdout


def test_only_proven_snapshots_are_replayed(installation: Installation) -> None:
    never = campaign_sync(installation.folder, "replay", "nord", "newsletter")
    installation.day("nord")
    unknown = campaign_sync(installation.folder, "replay", "nord", "newsletter", "--snapshot", "4711")

    assert (never.returncode, unknown.returncode) == (1, 1)
    assert "has no proven snapshot; only those can be replayed" in never.stderr
    assert "has no proven snapshot 4711; the newest are" in unknown.stderr


@pytest.mark.long
def test_check_probes_a_list_that_was_refused_for_good_once_more(installation: Installation) -> None:
    canary = "canary@example.org"
    installation.settings["mandators"]["nord"]["canary_address"] = canary
    installation.vendor.unsubscribe(NORD, canary)
    installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    installation.run("nord")

    opt_in_list = campaign_sync(installation.folder, "check")
    installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES)
    regular_list = campaign_sync(installation.folder, "check")

    assert opt_in_list.returncode == 1
    assert "opt-in list" in opt_in_list.stdout
    assert regular_list.returncode == 0, regular_list.stdout
    assert "a canary shows it to be a regular list" in " ".join(regular_list.stdout.split())
    installation.day("nord")


@pytest.mark.sample(1)
@pytest.mark.parametrize("before", [(), ("frames", ".campaign_sync")], ids=["new folders", "existing folders"])
def test_files_with_personal_data_are_readable_by_their_owner_only(
    installation: Installation, before: tuple[str, ...]
) -> None:
    old = os.umask(0)
    try:
        for name in before:
            (installation.folder / name).mkdir(mode=0o755)
        existing = set(installation.folder.rglob("*"))
        campaign_sync(installation.folder, "run", "nord")
        campaign_sync(installation.folder, "run", "nord")
        campaign_sync(installation.folder, "diff", "nord", "newsletter", "--csv", "who.csv")
    finally:
        os.umask(old)

    written = set(installation.folder.rglob("*")) - existing
    kinds = {"".join(path.suffixes[-1:]) for path in written}
    assert {".parquet", ".csv", ".json", ".db", ".html"} <= kinds
    public = {path for path in written if "reports" in path.parts}
    open_to_others = [path for path in written - public if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in public), "a web server may show the reports"

    closed = campaign_sync(installation.folder, "check")
    assert "chmod" not in closed.stdout
    for path in (installation.folder / "frames" / "snapshots", installation.folder / "state.db"):
        path.chmod(0o755)
    opened = campaign_sync(installation.folder, "check", "--json").stdout
    assert f"chmod -R go= {installation.folder}/frames/snapshots`" in opened
    assert f"chmod -R go= {installation.folder}/state.db`" in opened


@pytest.mark.long
def test_dg_checks_the_definitions_on_the_embedded_instance(installation: Installation) -> None:
    campaign_sync(installation.folder, "run", "nord")
    checkout = Path(__file__).parents[1]
    environment = os.environ | ENVIRONMENT
    environment |= {
        "CAMPAIGN_SYNC_CONFIG": str(installation.folder / CONFIGURATION),
        "DAGSTER_HOME": str(installation.folder / ".campaign_sync/dagster"),
    }
    dg = Path(sys.executable).with_name("dg")

    done = subprocess.run([dg, "check", "defs"], cwd=checkout, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
