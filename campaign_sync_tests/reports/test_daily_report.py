"""A report of several days says what the state knows, to anybody, and names nobody."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from lxml import etree
from rich.console import Console

from campaign_sync.cli.report import report_after_run, write_report
from campaign_sync.config import ReportSettings
from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.domain.readiness import Readiness
from campaign_sync.orchestration import run_attempts
from campaign_sync.orchestration.assets.report import OF_RUN_TAG, REPORT_TAG, report_asset
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.report_sensor import report_job, report_sensor
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.reports.collection import gather, refused_by_code
from campaign_sync.reports.daily_report import NOT_PICKED, Report
from campaign_sync.reports.html_page import headline, render
from campaign_sync.reports.publication import write
from campaign_sync.reports.translations import Words
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync_tests.installation import NEWSLETTER, NORD, Installation, running_installation
from campaign_sync_tests.test_diff import change_much
from campaign_sync_tests.time_travel import leave_a_replacement_unfinished, let_days_pass

CHAIN = ("selection", "snapshot", "recipient_list")

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    """An installation that never ran."""
    with running_installation(tmp_path) as built:
        yield built


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two days of the mandator nord; much happened between them, and then a replace of the products broke off."""
    with running_installation(tmp_path_factory.mktemp("lived")) as built:
        built.day()
        state_url = built.settings["storage"]["state_url"]
        let_days_pass(state_url, 1)
        change_much(built)
        built.list_settings(name="products")["limits"] = {"max_shrink": 1}
        built.leave("person4@example.org", datetime.now(UTC))
        built.day()
        leave_a_replacement_unfinished(state_url, "products")
        yield built


def gathered(shop: Installation, mandator: str = "nord", *, days_later: int = 0) -> Report:
    with shop.state() as state:
        frames = FileStorage(shop.settings["storage"]["frames"])
        return gather(shop.configuration, mandator, state, frames, datetime.now(UTC) + timedelta(days=days_later), {})


def parsed(page: str) -> etree._Element:
    """The page, if every tag is closed, every attribute quoted and every character escaped as it must be."""
    root = etree.fromstring(page.encode(), etree.XMLParser(resolve_entities=False))
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for picture in root.iter("svg"):
        assert picture.get("aria-hidden") or all(name in ids for name in picture.get("aria-labelledby", "?").split())
    assert not list(root.iter("script", "link", "img", "iframe", "object"))
    assert not [each for each in root.iter() if {"href", "src", "srcset", "action"} & set(each.keys())]
    assert not re.search(r"@import|url\(", page)
    return root


def text(root: etree._Element) -> str:
    return re.sub(r"\s+", " ", " ".join(root.find("body").itertext()))


def tables(root: etree._Element) -> list[list[list[str]]]:
    return [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in root.iter("table")]


def test_a_report_tells_who_came_who_left_and_why(lived: Installation) -> None:
    report = gathered(lived)
    newsletter, _ = report.lists
    with lived.state() as state:
        newest = state.replacement_history.proven("nord", "newsletter")[0]
    assert newest.in_list == len(lived.addresses(NEWSLETTER)) == 2
    assert newsletter.proof is not None
    assert (newsletter.proof.snapshot_id, newsletter.proof.digest) == (newest.snapshot_id, newest.digest)
    assert (newsletter.people, newsletter.before, newsletter.proof.equal) == (2, 5, 2)
    assert [day.people for day in newsletter.days[-3:]] == [None, 5, 2]
    assert newsletter.days[-1].refused == 1
    # c1 isn't picked any more, c2 has withdrawn, c3 is refused by a filter, c4 has unsubscribed; c6 is new
    assert newsletter.movement is not None
    assert newsletter.movement.joined == 1
    assert newsletter.movement.left == {NOT_PICKED: 1, "consent_withdrawn": 1, "filtered": 1, "unsubscribed": 1}
    kept_out = {"consent_withdrawn": 1, "filtered": 1, "unsubscribed": 1}
    assert newsletter.newly_kept_out == {report.day: kept_out}
    assert newsletter.kept_out == kept_out
    assert newsletter.refused_now == newsletter.refused_lately == {6: 1}
    assert report.opt_outs is not None
    assert report.opt_outs.to_absence.count == 1

    root = parsed(render(report, "de"))
    assert "−3 gegenüber gestern" in text(root)
    assert ["Von einem Filter abgelehnt (6)", "2", "2"] in [row for table in tables(root) for row in table]
    assert newsletter.proof.digest in text(root)


def test_a_report_names_nobody(lived: Installation) -> None:
    for language in ("de", "en"):
        assert_names_nobody(lived, render(gathered(lived), language))


def assert_names_nobody(shop: Installation, page: str) -> None:
    with shop.crm() as crm, shop.state() as state:
        people = crm.exec_driver_sql("SELECT id, email, first_name, last_name, city FROM contact").all()
        words = {value for row in people for value in row if value}
        pseudonyms = {state.pseudonyms.of(f"contact:{row[0]}") for row in people}
        pseudonyms |= {state.pseudonyms.of(row[1]) for row in people}
    assert len(people) == 6
    shown = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "", page)  # digests and ids
    shown = re.sub(r"<style>.*?</style>|#[0-9a-f]{6}", "", shown, flags=re.DOTALL)
    found = [each for each in {*words, *pseudonyms} if re.search(rf"\b{re.escape(each)}\b", shown)]
    assert not found
    assert "@" not in shown
    assert not re.search(r"contact|lead:", shown)


def test_an_incomplete_list_is_the_first_thing_that_is_said(lived: Installation) -> None:
    report = gathered(lived)
    newsletter, products = report.lists
    assert (newsletter.status, products.status) == (Readiness.READY, Readiness.INCOMPLETE)
    assert (newsletter.days[-1].broke_off, products.days[-1].broke_off) == (False, True)
    with lived.state() as state:
        broken = state.replacements.incomplete("nord", "products")
    assert broken is not None
    assert broken.cleared_at is not None
    assert products.since == broken.cleared_at
    local = broken.cleared_at.astimezone(report.zone)
    assert headline(report, Words("de", report.zone)) == (
        f"products (seit {local:%H:%M}\u00a0Uhr) ist unvollständig – bitte nichts dorthin senden, ein Teil der "
        "Empfänger fehlt; newsletter ist bereit."
    )
    root = parsed(render(report, "en"))
    assert f"products (since {local:%H:%M}) is incomplete – please send nothing to it" in text(root)
    assert "broke off, list incomplete" in text(root)


def test_a_list_that_somebody_is_filling_is_being_renewed(lived: Installation) -> None:
    with lived.state() as state:
        broken = state.replacements.incomplete("nord", "products")
        assert broken is not None
        assert broken.cleared_at is not None
        state.replacements.begin_changes("broken", clears=False, incomplete_since=broken.cleared_at)
        with state.locks.acquire(1, "somebody"):
            assert gathered(lived).lists[1].status is Readiness.RENEWING
        assert gathered(lived).lists[1].status is Readiness.INCOMPLETE
        state.replacements.mark_failed("broken", datetime.now(UTC), "killed")


def test_a_list_of_an_earlier_day_is_not_called_ready(lived: Installation) -> None:
    report = gathered(lived, days_later=2)
    newsletter, _ = report.lists
    assert newsletter.status is Readiness.OLD
    old = replace(report, lists=(newsletter, replace(newsletter, called="products")))
    told = headline(old, Words("en", report.zone))
    assert re.fullmatch(
        r"newsletter \(as of .+\) and products \(as of .+\) haven’t been renewed today – .+ in them\.", told
    )


def test_lists_that_are_all_ready_are_told_to_be_so(lived: Installation) -> None:
    report = gathered(lived)
    told = []
    for count in (1, 2, 3):
        ready = replace(report, lists=report.lists[:1] * count)
        told.append(headline(ready, Words("en", report.zone)))
    assert told == [
        "The list newsletter is ready for today’s mailings.",
        "Both lists are ready for today’s mailings.",
        "All 3 lists are ready for today’s mailings.",
    ]


def reported(shop: Installation, instance: dg.DagsterInstance) -> str:
    """The report's page in English, made by its job."""
    job = shop.definitions.resolve_job_def("nord_report")
    (event,) = job.execute_in_process(instance=instance).get_asset_materialization_events()
    return text(parsed(Path(str(event.materialization.metadata["page (en)"].value)).read_text()))


def test_a_run_that_refused_the_lists_is_the_first_thing_that_is_said_though_they_were_proven_today(
    shop: Installation,
) -> None:
    shop.settings["reports"] = {"languages": ["en"]}
    with dg.instance_for_test() as instance:
        assert shop.run("nord", instance).success
        assert "Both lists are ready for today’s mailings." in reported(shop, instance)
        shop.vendor.add_list(NORD, NEWSLETTER, "Newsletter", [])
        assert not shop.run("nord", instance).success
        told = reported(shop, instance)

        assert "newsletter (as of" in told
        assert "wasn’t renewed at the last attempt" in told
        assert "products is ready" in told
        shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"
        assert not shop.run("nord", instance).success
        told = reported(shop, instance)
        assert re.search(r"newsletter \(as of .+\) and products \(as of .+\) weren’t renewed at the last attempt", told)
        assert "ready for" not in told
        with shop.state() as state:
            frames = FileStorage(shop.settings["storage"]["frames"])
            newest = newest_attempts(instance, "nord", ["newsletter", "products"])
            report = gather(shop.configuration, "nord", state, frames, datetime.now(UTC), newest)
        assert 'class="verdict fair"' in render(report, "en")


def test_a_day_without_feedback_is_not_called_ready(shop: Installation) -> None:
    shop.settings["reports"] = {"languages": ["en"]}
    shop.settings["mandators"]["nord"]["feedback"] = {"max_age": "3d"}
    with dg.instance_for_test() as instance:
        assert shop.run("nord", instance).success
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
            only_lists = [("nord", f"{name}_{kind}") for name in ("newsletter", "products") for kind in CHAIN]
            result = shop.run("nord", instance, assets=only_lists)
            assert result.success, "feedback of yesterday warns, and stops nothing"
            told = reported(shop, instance)

    assert "opt-outs up to" in told
    assert "are complete, but newer opt-outs aren’t known" in told
    assert "ready for" not in told


def test_a_list_that_was_changed_after_its_proof_is_not_called_ready(shop: Installation) -> None:
    shop.day()
    with shop.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven is not None
        drift = ListDrift("nord", "newsletter", proven.id)
        state.list_drifts.record(drift.seen(2, ReadBack(5, 2, 4, 0, 0, 1), datetime.now(UTC)))
    report = gathered(shop)

    assert [one.status for one in report.lists] == [Readiness.DRIFTED, Readiness.READY]
    page = render(report, "de")
    assert 'class="verdict bad"' in page
    told = text(parsed(page))
    assert (
        "wurde nach dem Nachweis bei Optimizely verändert – bitte nichts dorthin senden; products ist bereit." in told
    )
    assert "Ohne Grund verschwunden 4" in told
    assert "Bei Optimizely dazugekommen 1" in told


def test_a_list_that_looks_half_full_is_called_neither_ready_nor_complete(shop: Installation) -> None:
    shop.day()
    with shop.state() as state:
        state.recipient_lists.record_partial_fill(PartialFill("nord", "newsletter", 2, 5, datetime.now(UTC)))
    report = gathered(shop)

    assert [one.status for one in report.lists] == [Readiness.DOUBTFUL, Readiness.READY]
    page = render(report, "en")
    assert 'class="verdict bad"' in page
    assert "looks half full – please send nothing to it" in text(parsed(page))


def test_a_check_without_a_result_is_not_taken_for_a_good_one(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = run_attempts._checks_of

    def without_proof(instance: dg.DagsterInstance, run_id: str) -> object:
        return {key: None if key.name == "proof" else one for key, one in evaluated(instance, run_id).items()}

    with dg.instance_for_test() as instance:
        assert shop.run("nord", instance).success
        assert newest_attempts(instance, "nord", ["newsletter"])["newsletter"].missing_checks == ()
        monkeypatch.setattr(run_attempts, "_checks_of", without_proof)
        found = newest_attempts(instance, "nord", ["newsletter", "products"])
    assert found["newsletter"].missing_checks == ("newsletter_recipient_list/proof",)
    with shop.state() as state:
        frames = FileStorage(shop.settings["storage"]["frames"])
        report = gather(shop.configuration, "nord", state, frames, datetime.now(UTC), found)
    assert [one.status for one in report.lists] == [Readiness.CHECK_MISSING, Readiness.CHECK_MISSING]
    assert "sind vollständig, aber das Ergebnis einer Prüfung fehlt" in headline(report, Words("de", report.zone))


def test_a_report_made_where_dagster_cannot_be_asked_does_not_call_lists_ready(shop: Installation) -> None:
    shop.day()
    with shop.state() as state:
        frames = FileStorage(shop.settings["storage"]["frames"])
        report = gather(shop.configuration, "nord", state, frames, datetime.now(UTC), None)
    assert not report.ready


@pytest.mark.smoke
def test_a_mandator_that_never_ran_has_a_report_that_says_so(shop: Installation) -> None:
    for language in ("de", "en"):
        root = parsed(render(gathered(shop, "sued"), language))
        assert len(list(root.iter("article"))) == 1
    assert "newsletter has never been filled completely – please send nothing to it yet." in text(root)
    assert "never fetched yet" in text(root)


def test_what_a_list_is_called_is_text_and_nothing_else(lived: Installation) -> None:
    report = gathered(lived)
    name = '<script>alert("1")</script> & Söhne'
    nasty = replace(report, called=name, lists=tuple(replace(one, called=name) for one in report.lists))
    root = parsed(render(nasty, "de"))
    assert name in text(root)
    assert name in (root.findtext("head/title") or "")


@pytest.mark.parametrize(
    ("codes", "refused", "expected"),
    [
        ({0: 10}, 0, {}),
        ({0: 8, 2: 2}, 2, {2: 2}),
        ({0: 9, 7: 2}, 1, {7: 1}),  # one of the two was taken when it was sent again
        ({0: 8, 2: 1, 5: 3}, 1, {2: 1}),  # rows that a lost call had stored already
        ({0: 8, 5: 1}, 1, {5: 1}),
    ],
)
def test_rows_that_were_sent_again_are_not_counted_twice(
    codes: dict[int, int], refused: int, expected: dict[int, int]
) -> None:
    assert refused_by_code(codes, refused) == expected


def test_pages_are_written_by_day_and_language_and_removed_when_they_are_old(shop: Installation) -> None:
    frames = FileStorage(shop.settings["storage"]["frames"])
    report = gathered(shop)
    settings = ReportSettings(languages=("de", "en"), keep=timedelta(days=30))
    for ago in (40, 30):
        write(replace(report, day=report.day - timedelta(days=ago)), "nord", settings, frames)
    addresses = write(report, "nord", settings, frames)

    days = [report.day - timedelta(days=30), report.day]
    pages = [f"{day}.{language}.html" for day in days for language in ("de", "en")]
    assert frames.pages("reports/nord") == [*pages, "latest.de.html", "latest.en.html"]
    assert Path(addresses["en"]).read_text() == Path(addresses["en"]).with_name("latest.en.html").read_text()


def test_a_daily_run_that_has_ended_gets_its_report_and_says_where_it_is(shop: Installation) -> None:
    sensor = report_sensor(shop.configuration, "nord")
    assert sensor
    with dg.instance_for_test() as instance:

        def look() -> dg.SensorResult | dg.SkipReason:
            found = sensor(dg.build_sensor_context(instance=instance))
            assert isinstance(found, dg.SensorResult | dg.SkipReason)
            return found

        for job_name, status in (
            ("nord_daily_replace", dg.DagsterRunStatus.STARTED),
            ("sued_daily_replace", dg.DagsterRunStatus.SUCCESS),
            ("nord_feedback", dg.DagsterRunStatus.SUCCESS),
        ):
            instance.add_run(dg.DagsterRun(job_name, status=status))
            assert isinstance(look(), dg.SkipReason)
        daily = dg.DagsterRun("nord_daily_replace", status=dg.DagsterRunStatus.FAILURE)
        instance.add_run(daily)
        found = look()
        assert isinstance(found, dg.SensorResult)
        (request,) = found.run_requests or []
        assert request.tags == {OF_RUN_TAG: daily.run_id}

        made = shop.definitions.resolve_job_def("nord_report").execute_in_process(instance=instance, tags=request.tags)
        (event,) = made.get_asset_materialization_events()
        metadata = event.materialization.metadata
        assert (metadata["lists"].value, metadata["lists ready"].value) == (2, 0)
        page = str(metadata["page (de)"].value)
        assert "noch nie vollständig gefüllt" in Path(page).read_text()
        run = instance.get_run_by_id(daily.run_id)
        assert run is not None
        assert run.tags[REPORT_TAG] == page
        assert isinstance(look(), dg.SkipReason)


def test_a_list_that_somebody_materialized_by_itself_makes_the_report_anew(shop: Installation) -> None:
    sensor = report_sensor(shop.configuration, "nord")
    assert sensor
    with dg.instance_for_test() as instance:
        run = shop.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["nord", "newsletter_recipient_list"])],
            raise_on_error=False,
        )
        assert not run.success, "it has no snapshot yet"
        found = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(found, dg.SensorResult)
        assert [request.tags for request in found.run_requests or []] == [{OF_RUN_TAG: run.run_id}]
        assert isinstance(sensor(dg.build_sensor_context(instance=instance, cursor=found.cursor)), dg.SkipReason)


def test_without_languages_there_is_nothing_of_reports(shop: Installation) -> None:
    shop.settings["reports"] = {"languages": []}
    configuration = shop.configuration
    assert report_asset(configuration, "nord") is None
    assert report_job(configuration, "nord") is None
    assert report_sensor(configuration, "nord") is None
    daily = shop.definitions.resolve_job_def(daily_job_name("nord"))
    assert dg.AssetKey(["nord", "report"]) not in daily.asset_layer.selected_asset_keys
    out = io.StringIO()
    report_after_run(configuration, "nord", "run", Console(file=out))
    assert not out.getvalue()


def test_a_report_that_cannot_be_written_is_told_and_no_more(shop: Installation) -> None:
    out = io.StringIO()
    Path(shop.settings["storage"]["frames"]).write_text("a file where the folder should be")
    report_after_run(shop.configuration, "nord", "run", Console(file=out))
    assert out.getvalue().startswith("report: not written, ")


def test_one_language_can_be_had_as_a_file(shop: Installation) -> None:
    out, file = io.StringIO(), shop.folder / "today.html"
    write_report(shop.configuration, "nord", "en", file, Console(file=out))
    assert out.getvalue().strip() == str(file)
    assert parsed(file.read_text()).get("lang") == "en"

    out = io.StringIO()
    write_report(shop.configuration, "nord", None, None, Console(file=out, width=500))
    assert [Path(line).name.split(".")[1] for line in out.getvalue().split()] == ["de", "en"]
