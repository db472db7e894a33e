"""The report shows what the state database knows of several days, and identifies no person."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from campaign_sync.domain.list_drift import ListDrift, ReadBack
from campaign_sync.domain.readiness import Attempt, CheckFinding, Readiness
from campaign_sync.optimizely.client import Optimizely, connect_mandator
from campaign_sync.optimizely.errors import TransientError
from campaign_sync.orchestration.run_attempts import newest_attempts
from campaign_sync.replacement.scheduled_mailings import scheduled_mailings
from campaign_sync.reports.collection import gather, refused_by_code
from campaign_sync.reports.daily_report import NOT_PICKED, UnfinishedDay
from campaign_sync.reports.headline import headline
from campaign_sync.reports.html_page import render
from campaign_sync.reports.localization import Localizer
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.recipient_lists import PartialFill
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, Installation
from campaign_sync_tests.reports.pages import parse_page, report_of, table_rows, text_of

CHAIN = ("selection", "snapshot", "recipient_list")

pytestmark = pytest.mark.xdist_group("report")


def test_a_report_says_who_joined_who_left_and_why(two_days: Installation) -> None:
    report = report_of(two_days)
    newsletter, _ = report.lists
    with two_days.state() as state:
        newest = state.replacement_history.proven("nord", "newsletter")[0]
    assert newest.in_list == len(two_days.addresses(NEWSLETTER)) == 2
    assert newsletter.proof is not None
    assert (newsletter.proof.snapshot_id, newsletter.proof.digest) == (newest.snapshot_id, newest.digest)
    assert (newsletter.people, newsletter.before, newsletter.proof.equal) == (2, 5, 2)
    assert [day.people for day in newsletter.days[-3:]] == [None, 5, 2]
    assert newsletter.days[-1].refused == 1
    # c1 isn't picked any more, c2 has withdrawn, c3 is refused by a filter, c4 has unsubscribed; c6 is new.
    assert newsletter.movement is not None
    assert newsletter.movement.joined == 1
    assert newsletter.movement.left == {NOT_PICKED: 1, "consent_withdrawn": 1, "filtered": 1, "unsubscribed": 1}
    kept_out = {"consent_withdrawn": 1, "filtered": 1, "unsubscribed": 1}
    assert newsletter.newly_kept_out == {report.day: kept_out}
    assert newsletter.kept_out == kept_out
    assert newsletter.refused_now == newsletter.refused_lately == {6: 1}
    assert report.opt_outs is not None
    assert report.opt_outs.to_absence.count == 1

    root = parse_page(render(report, "de"))
    assert "−3 gegenüber gestern" in text_of(root)
    assert ["Von einem Filter abgelehnt (6)", "2", "2"] in table_rows(root)
    assert newsletter.proof.digest in text_of(root)


def test_a_report_identifies_no_person(two_days: Installation) -> None:
    for language in ("de", "en"):
        assert_identifies_no_person(two_days, render(report_of(two_days), language))


def assert_identifies_no_person(installation: Installation, page: str) -> None:
    with installation.crm() as crm, installation.state() as state:
        people = crm.exec_driver_sql("SELECT id, email, first_name, last_name, city FROM contact").all()
        words = {value for row in people for value in row if value}
        pseudonyms = {state.pseudonyms.of(f"contact:{row[0]}") for row in people}
        pseudonyms |= {state.pseudonyms.of(row[1]) for row in people}
    assert len(people) == 6
    shown = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "", page)  # digests and ids
    shown = re.sub(r"<style>.*?</style>|#[0-9a-f]{6}", "", shown, flags=re.DOTALL)
    assert [value for value in {*words, *pseudonyms} if re.search(rf"\b{re.escape(value)}\b", shown)] == []
    assert "@" not in shown
    assert not re.search(r"contact|lead:", shown)


def test_the_headline_begins_with_an_incomplete_list(two_days: Installation) -> None:
    report = report_of(two_days)
    newsletter, products = report.lists
    assert (newsletter.status, products.status) == (Readiness.READY, Readiness.INCOMPLETE)
    assert (newsletter.days[-1].interrupted, products.days[-1].interrupted) == (False, True)
    with two_days.state() as state:
        broken = state.replacements.incomplete("nord", "products")
    assert broken is not None
    assert broken.cleared_at is not None
    assert products.since == broken.cleared_at
    local = broken.cleared_at.astimezone(report.zone)
    assert headline(report, Localizer("de", report.zone)) == (
        f"products (seit {local:%H:%M}\u00a0Uhr) ist unvollständig – bitte nichts dorthin senden, ein Teil der "
        "Empfänger fehlt; newsletter ist bereit."
    )
    root = parse_page(render(report, "en"))
    assert f"products (since {local:%H:%M}) is incomplete – please send nothing to it" in text_of(root)
    assert "interrupted, list incomplete" in text_of(root)


def test_a_list_that_a_run_is_filling_is_being_renewed(two_days: Installation) -> None:
    with two_days.state() as state:
        broken = state.replacements.incomplete("nord", "products")
        assert broken is not None
        assert broken.cleared_at is not None
        state.replacements.begin_changes("broken", clears=False, incomplete_since=broken.cleared_at)
        with state.locks.acquire(PRODUCTS, "a run"):
            assert report_of(two_days).lists[1].status is Readiness.RENEWING
        assert report_of(two_days).lists[1].status is Readiness.INCOMPLETE
        state.replacements.mark_failed("broken", datetime.now(UTC), "killed")


def test_a_list_of_an_earlier_day_is_not_called_ready(two_days: Installation) -> None:
    report = report_of(two_days, days_later=2)
    newsletter, _ = report.lists
    assert newsletter.status is Readiness.OLD
    old = replace(report, lists=(newsletter, replace(newsletter, display_name="products")))
    sentence = headline(old, Localizer("en", report.zone))
    assert re.fullmatch(
        r"newsletter \(as of .+\) and products \(as of .+\) haven’t been renewed today – .+ in them\.", sentence
    )


def test_the_headline_says_that_all_lists_are_ready(two_days: Installation) -> None:
    report = report_of(two_days)
    reports = [replace(report, lists=report.lists[:1] * count) for count in (1, 2, 3)]
    assert [headline(ready, Localizer("en", report.zone)) for ready in reports] == [
        "The list newsletter is ready for today’s mailings.",
        "Both lists are ready for today’s mailings.",
        "All 3 lists are ready for today’s mailings.",
    ]


def english_page(installation: Installation, instance: dg.DagsterInstance) -> str:
    """Run the report job, and return the text of its English page."""
    job = installation.definitions.resolve_job_def("nord_report")
    (event,) = job.execute_in_process(instance=instance).get_asset_materialization_events()
    return text_of(parse_page(Path(str(event.materialization.metadata["page: en"].value)).read_text()))


@pytest.mark.long
def test_the_headline_begins_with_lists_that_a_later_run_refused_though_they_were_proven_today(
    installation: Installation,
) -> None:
    installation.settings["reports"] = {"languages": ["en"]}
    with dg.instance_for_test() as instance:
        assert installation.run("nord", instance).success
        assert "Both lists are ready for today’s mailings." in english_page(installation, instance)
        installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", [])
        assert not installation.run("nord", instance).success
        page_text = english_page(installation, instance)

        assert re.search(r"newsletter \(as of .+; today’s run was refused: check “fields of the list”\)", page_text)
        assert "the list has no attribute" in page_text
        assert "wasn’t renewed at the last attempt" in page_text
        assert "products is ready" in page_text
        installation.environment["PASSWORD_OF_BOTH"] = "wrong horse"
        assert not installation.run("nord", instance).success
        page_text = english_page(installation, instance)
        assert re.search(
            r"newsletter \(as of .+\) and products \(as of .+\) weren’t renewed at the last attempt", page_text
        )
        assert "ready for" not in page_text
        with installation.state() as state:
            frames = FileStorage(installation.settings["storage"]["frames"])
            newest = newest_attempts(instance, "nord", ["newsletter", "products"])
            report = gather(installation.configuration, "nord", state, frames, datetime.now(UTC), newest)
        assert 'class="headline fair"' in render(report, "en")


def test_without_feedback_of_today_no_list_is_called_ready(installation: Installation) -> None:
    installation.settings["reports"] = {"languages": ["en"]}
    installation.settings["mandators"]["nord"]["feedback"] = {"max_age": "3d"}
    with dg.instance_for_test() as instance:
        assert installation.run("nord", instance).success
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
            only_lists = [("nord", f"{name}_{kind}") for name in ("newsletter", "products") for kind in CHAIN]
            result = installation.run("nord", instance, assets=only_lists)
            assert result.success, "feedback of yesterday warns, and stops nothing"
            page_text = english_page(installation, instance)

    assert "opt-outs up to" in page_text
    assert "are complete, but newer opt-outs aren’t known" in page_text
    assert "ready for" not in page_text


def test_a_list_that_was_changed_after_its_proof_is_not_called_ready(installation: Installation) -> None:
    installation.first_day()
    with installation.state() as state:
        proven = state.replacements.last_proven("nord", "newsletter")
        assert proven is not None
        drift = ListDrift("nord", "newsletter", proven.id)
        state.list_drifts.record(drift.after_check(2, ReadBack(5, 2, 4, 0, 0, 1), datetime.now(UTC)))
    report = report_of(installation)

    assert [entry.status for entry in report.lists] == [Readiness.DRIFTED, Readiness.READY]
    page = render(report, "de")
    assert 'class="headline bad"' in page
    page_text = text_of(parse_page(page))
    assert (
        "wurde nach dem Nachweis bei Optimizely verändert – bitte nichts dorthin senden; products ist bereit."
        in page_text
    )
    assert "Ohne Grund verschwunden 4" in page_text
    assert "Bei Optimizely dazugekommen 1" in page_text


def test_a_list_that_may_be_half_full_is_neither_ready_nor_complete(installation: Installation) -> None:
    installation.first_day()
    with installation.state() as state:
        state.recipient_lists.record_partial_fill(PartialFill("nord", "newsletter", 2, 5, datetime.now(UTC)))
    report = report_of(installation)

    assert [entry.status for entry in report.lists] == [Readiness.SUSPECTED_PARTIAL_FILL, Readiness.READY]
    page = render(report, "en")
    assert 'class="headline bad"' in page
    assert "looks half full – please send nothing to it" in text_of(parse_page(page))


@pytest.mark.long
def test_a_check_without_a_result_does_not_count_as_passed(installation: Installation) -> None:
    with dg.instance_for_test() as instance:
        assert installation.run("nord", instance).success
        attempts = newest_attempts(instance, "nord", ["newsletter", "products"])
    assert [attempt.missing_checks for attempt in attempts.values()] == [(), ()]
    without_proof = {
        name: replace(attempt, missing_checks=(f"{name}_recipient_list/proof",)) for name, attempt in attempts.items()
    }
    with installation.state() as state:
        frames = FileStorage(installation.settings["storage"]["frames"])
        report = gather(installation.configuration, "nord", state, frames, datetime.now(UTC), without_proof)
    assert [entry.status for entry in report.lists] == [Readiness.CHECK_MISSING, Readiness.CHECK_MISSING]
    assert "sind vollständig, aber das Ergebnis einer Prüfung fehlt" in headline(report, Localizer("de", report.zone))


def test_without_dagster_no_list_is_called_ready(installation: Installation) -> None:
    installation.first_day()
    with installation.state() as state:
        frames = FileStorage(installation.settings["storage"]["frames"])
        report = gather(installation.configuration, "nord", state, frames, datetime.now(UTC), None)
    assert not report.ready


def test_lists_of_the_day_that_are_not_there_are_named_with_whether_they_follow(installation: Installation) -> None:
    day = UnfinishedDay(datetime(2026, 11, 24, 4, 30, tzinfo=UTC), followed=("products",), left=("newsletter",))
    report = replace(report_of(installation), unfinished_day=day)
    german, english = (text_of(parse_page(render(report, language))) for language in ("de", "en"))
    planned = "24 Nov 2026, 05:30"
    assert f"products, planned for {planned}, isn’t renewed yet and follows automatically." in english.replace(
        "\xa0", " "
    )
    assert "wurde nicht erneuert und folgt nicht von selbst." in german


@pytest.mark.parametrize(
    ("people", "days_ago", "german", "english"),
    [
        (3, 0, "der heutige Lauf wurde abgelehnt: 40 % weniger Personen", "today’s run was refused: 40% fewer people"),
        (None, 0, "der heutige Lauf wurde abgelehnt: Prüfung „Größe der Liste“", "check “size of the list”)"),
        (8, 2, "wurde abgelehnt: 60 % mehr Personen", "was refused: 60% more people"),
    ],
)
def test_a_refused_run_is_reported_with_what_the_check_itself_found(
    two_days: Installation, people: int | None, days_ago: int, german: str, english: str
) -> None:
    report = report_of(two_days)
    sentence = "the list changes from 5 (proven on <a day>), more than allowed"
    size = CheckFinding("newsletter_snapshot", "plausible_size", sentence, of_list=True)
    damaged = CheckFinding("newsletter_snapshot", "utf8", "city: mojibake in 1 rows", of_list=True)
    unread = CheckFinding("suppression_state", "layout", "3 rows can't be read", of_list=False)
    ended = report.made_at - timedelta(days=days_ago)
    attempt = Attempt("r", ended, replaced=False, failed_checks=(size,), warnings=(damaged, unread))
    refused = replace(report.lists[0], status=Readiness.FAILED, attempt=attempt, refused_people=people, people=5)
    report = replace(report, lists=(refused, refused))
    pages = [parse_page(render(report, language)) for language in ("de", "en")]
    texts = [text_of(page).replace("\xa0", " ") for page in pages]
    assert german in texts[0]
    assert english in texts[1]
    assert all(text.count(sentence) == 2 for text in texts), "on the card of each list"
    assert all(text.count("3 rows can't be read") == 1 for text in texts), "once for all lists"
    assert "Größe der Liste (nicht bestanden)" in texts[0]
    assert "damaged texts (warning)" in texts[1]
    assert {quote.get("lang") for page in pages for quote in page.iter("q")} == {"en"}


LET_IN = Attempt("a run", datetime(2026, 1, 1, tzinfo=UTC), replaced=True)


def test_the_report_says_whether_the_next_mailing_is_safe_and_whom_to_ask(two_days: Installation) -> None:
    now = datetime.now(UTC)
    two_days.vendor.add_mailing(NORD, 1, "Herbst", list_ids=[NEWSLETTER], status="SENDING")
    two_days.vendor.add_mailing(
        NORD, 2, "Messe", list_ids=[NEWSLETTER, PRODUCTS], status="SENDING", mailing_type="split"
    )
    two_days.vendor.add_mailing(
        NORD, 3, "Advent", list_ids=[PRODUCTS], status="NEW", scheduled_at=now + timedelta(days=3)
    )
    two_days.vendor.add_mailing(NORD, 4, "Entwurf", list_ids=[PRODUCTS], status="NEW")
    two_days.vendor.add_mailing(NORD, 5, "Fremd", list_ids=[4711], status="SENDING")
    settings = two_days.configuration.mandators["nord"]
    with connect_mandator(two_days.configuration, "nord") as vendor:
        mailings = scheduled_mailings(settings, [LET_IN], lambda: vendor)
    for mailing in range(1, 6):
        two_days.vendor.set_mailing_status(mailing, "DONE")

    report = replace(report_of(two_days), mailings=mailings)
    owners, pages = ("team:crm", "anna@example.org"), "https://dagster.example.net/assets/nord/x"
    report = replace(report, lists=tuple(replace(entry, owners=owners, page=pages) for entry in report.lists))
    german, english = (parse_page(render(report, language)) for language in ("de", "en"))

    rows = [row for row in table_rows(english) if row[0].startswith("“")]
    assert [row[0] for row in rows] == ["“Herbst”", "“Messe”", "“Advent”"]
    assert [row[3] for row in rows] == [
        "yes, safe as of this page",
        "no, stop it: products",
        "the report of that day says so",
    ]
    assert "Nächstes Mailing: „Herbst“ (wird gerade versendet) an newsletter: ja" in text_of(german)
    assert "Fragen an das Team crm und anna@example.org." in text_of(german)
    assert {link.get("href") for link in english.iter("a")} == {pages}
    unread = text_of(parse_page(render(replace(report, mailings=None), "de")))
    assert "Welche Mailings geplant sind, wurde für diese Seite nicht gelesen" in unread
    none = text_of(parse_page(render(replace(report, mailings=()), "en")))
    assert "No mailing to these lists is planned for today." in none


def test_mailings_are_unknown_if_there_are_too_many_to_ask_for_the_lists_of_each(
    two_days: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mailing in (6, 7):
        two_days.vendor.add_mailing(NORD, mailing, "Entwurf", list_ids=[PRODUCTS], status="NEW")
    settings = two_days.configuration.mandators["nord"]
    with connect_mandator(two_days.configuration, "nord") as vendor:
        assert scheduled_mailings(settings, [LET_IN], lambda: vendor) == ()
        monkeypatch.setattr("campaign_sync.replacement.scheduled_mailings.MOST_MAILINGS", 1)
        assert scheduled_mailings(settings, [LET_IN], lambda: vendor) is None


def test_mailings_are_unknown_if_the_vendor_cannot_be_asked(two_days: Installation) -> None:
    def login() -> Optimizely:
        raise TransientError("it is down", outcome_unknown=False)

    assert scheduled_mailings(two_days.configuration.mandators["nord"], [LET_IN], login) is None


def test_the_vendor_is_not_asked_for_mailings_after_runs_that_it_did_not_let_in(installation: Installation) -> None:
    def login() -> Optimizely:
        raise AssertionError("a further login")

    settings = installation.configuration.mandators["nord"]
    for attempts in ([], [replace(LET_IN, replaced=False)]):
        assert scheduled_mailings(settings, attempts, login) is None


@pytest.mark.smoke
def test_the_report_of_a_mandator_that_never_ran_says_so(installation: Installation) -> None:
    for language in ("de", "en"):
        root = parse_page(render(report_of(installation, "sued"), language))
        assert len(list(root.iter("article"))) == 1
    assert "newsletter has never been filled completely – please send nothing to it yet." in text_of(root)
    assert "never fetched yet" in text_of(root)


def test_the_title_of_a_list_is_escaped(two_days: Installation) -> None:
    report = report_of(two_days)
    name = '<script>alert("1")</script> & Söhne'
    nasty = replace(report, display_name=name, lists=tuple(replace(entry, display_name=name) for entry in report.lists))
    root = parse_page(render(nasty, "de"))
    assert name in text_of(root)
    assert name in (root.findtext("head/title") or "")


@pytest.mark.parametrize(
    ("codes", "refused", "expected"),
    [
        ({0: 10}, 0, {}),
        ({0: 8, 2: 2}, 2, {2: 2}),
        ({0: 9, 7: 2}, 1, {7: 1}),  # one of the two was accepted when it was sent again
        ({0: 8, 2: 1, 5: 3}, 1, {2: 1}),  # rows that a lost call had stored already
        ({0: 8, 5: 1}, 1, {5: 1}),
    ],
)
def test_rows_that_were_sent_again_are_not_counted_twice(
    codes: dict[int, int], refused: int, expected: dict[int, int]
) -> None:
    assert refused_by_code(codes, refused) == expected
