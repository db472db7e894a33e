"""Responses to mailings are imported once, even if a run fails half-way."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
from rich.console import Console

from campaign_sync.cli.erase import erase_people
from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.domain.windows import Window
from campaign_sync.erasure.places import RESPONSES
from campaign_sync.inquiry.person_data import collect_person_data
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.sources import open_sources
from campaign_sync.storage.expired_files import remove_raw_rows
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync_tests.erasure.leftovers import leftovers
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import check

MAILING, OTHER_MAILING = 70001, 70002
ANNA, BJOERN = "person1@example.org", "person2@example.org"
LINK = "https://shop.example.org/sale?a=1&b=ü"
HOUR = timedelta(hours=1)


@pytest.fixture
def responding(installation: Installation) -> Installation:
    """Return an installation that imports opens and clicks, and whose lists were just replaced."""
    installation.settings["mandators"]["nord"]["responses"] = {
        "readers": {"getOpens": {}, "getClicks": {"link": 3}},
    }
    installation.first_day("nord")
    installation.vendor.add_mailing(NORD, MAILING, "Sale", status="DONE", list_ids=[NEWSLETTER])
    installation.vendor.add_mailing(NORD, OTHER_MAILING, "To both", status="DONE", list_ids=[NEWSLETTER, PRODUCTS])
    return installation


def now() -> datetime:
    """Return the current time in whole milliseconds, as exports write it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def run(installation: Installation) -> dg.ExecuteInProcessResult:
    job = installation.definitions.resolve_job_def("nord_responses")
    return job.execute_in_process(
        raise_on_error=False, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )


def import_responses(installation: Installation) -> dict[str, dict[str, Any]]:
    """Run the job, which must succeed, and return the metadata of each kind of response."""
    result = run(installation)
    assert result.success, problems(result)
    metadata = {}
    for event in result.get_asset_materialization_events():
        assert event.asset_key
        values = event.materialization.metadata
        metadata[event.asset_key.path[-1]] = {name: value.value for name, value in values.items()}
    return metadata


def stored(installation: Installation, kind: str) -> pd.DataFrame:
    """Return the dataset of a kind of response, as any reader of Parquet reads it."""
    return pd.read_parquet(installation.folder / "frames" / "responses" / "nord" / kind)


def keys(installation: Installation, kind: str = "opens") -> list[tuple[str, int]]:
    frame = stored(installation, kind)
    return sorted(zip(frame["recipient_id"], frame["mailing_id"], strict=True))


def add_campaigns(installation: Installation, *mailing_ids: int) -> None:
    schema.create_crm(installation.crm_url, responses=True)
    with installation.crm() as crm:
        for mailing_id in mailing_ids:
            crm.execute(schema.campaign.insert().values(mailing_id=str(mailing_id)))


def crm_responses(installation: Installation) -> list[Any]:
    with installation.crm() as crm:
        return list(crm.execute(schema.response.select().order_by(schema.response.c.kind)))


@pytest.mark.two_lists
def test_opens_and_clicks_are_stored_by_day_with_their_records_and_opt_ins(responding: Installation) -> None:
    moment = now()
    yesterday = moment - timedelta(days=1)
    responding.vendor.publish(
        NORD,
        "getOpens",
        [[ANNA, str(MAILING), epoch_ms(moment)], ["Stranger@Example.com", str(MAILING), epoch_ms(yesterday)]],
    )
    responding.vendor.publish(NORD, "getClicks", [[ANNA, str(OTHER_MAILING), epoch_ms(moment), LINK]])
    import_responses(responding)

    opens = stored(responding, "opens").sort_values("recipient_id")
    assert (str(opens["mailing_id"].dtype), str(opens["occurred_at"].dtype)) == ("int64", "datetime64[us, UTC]")
    anna, stranger = opens.to_dict("records")
    assert anna == {
        "recipient_id": ANNA,
        "mailing_id": MAILING,
        "occurred_at": moment,
        "entity_type": "contact",
        "entity_id": "c1",
        "opt_in_id": "newsletter-nord",
        "day": f"{moment:%Y-%m-%d}",
    }
    assert (stranger["recipient_id"], stranger["day"]) == ("stranger@example.com", f"{yesterday:%Y-%m-%d}")
    assert all(pd.isna(stranger[column]) for column in ("entity_type", "entity_id", "opt_in_id"))
    (click,) = stored(responding, "clicks").to_dict("records")
    assert (click["link"], click["entity_id"]) == (LINK, "c1")
    assert pd.isna(click["opt_in_id"]), "the mailing went to two lists, and she is in both"


@pytest.mark.long
def test_every_run_continues_where_the_last_one_ended_and_stores_nothing_twice(responding: Installation) -> None:
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    assert import_responses(responding)["opens"]["new"] == 1

    responding.vendor.publish(NORD, "getOpens", [[BJOERN, str(MAILING), epoch_ms(now())]])
    metadata = import_responses(responding)["opens"]
    assert (metadata["dagster/row_count"], metadata["new"], metadata["known before"]) == (2, 1, 1)
    metadata = import_responses(responding)["opens"]
    assert (metadata["dagster/row_count"], metadata["new"], metadata["known before"]) == (2, 0, 2)
    assert keys(responding) == [(ANNA, MAILING), (BJOERN, MAILING)]


@pytest.mark.long
def test_a_file_that_comes_late_is_read_in_the_overlap(responding: Installation) -> None:
    import_responses(responding)
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now() - 2 * HOUR)]], now() - HOUR)

    assert import_responses(responding)["opens"]["new"] == 1
    assert keys(responding) == [(ANNA, MAILING)]


def test_equal_rows_are_one_response_and_rows_with_another_time_or_link_are_others(responding: Installation) -> None:
    moment = now()
    row = [ANNA, str(MAILING), epoch_ms(moment), LINK]
    responding.vendor.publish(
        NORD, "getClicks", [row, row, [*row[:3], "https://shop.example.org/"], [*row[:3], ""], [*row[:3], ""]]
    )
    responding.vendor.publish(NORD, "getClicks", [[ANNA, str(MAILING), epoch_ms(moment + HOUR), LINK]])

    assert import_responses(responding)["clicks"]["new"] == 4
    assert import_responses(responding)["clicks"]["known before"] == 4
    assert len(stored(responding, "clicks")) == 4


@pytest.mark.parametrize("stored_before", [*(pytest.param(days, marks=pytest.mark.long) for days in (0, 1)), 2])
def test_a_run_that_fails_before_it_moves_the_watermark_is_repeated_without_duplicates(
    responding: Installation, monkeypatch: pytest.MonkeyPatch, stored_before: int
) -> None:
    import_responses(responding)
    with responding.state() as state:
        watermark = state.response_imports.committed_until("nord")["getOpens"]
    days = [now() - timedelta(days=day) for day in range(3)]
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(day)] for day in days], now() - HOUR)
    written: list[str] = []
    write = FileStorage.add_to_partition

    def fail_later(self: FileStorage, folder: str, window: Window, frame: pd.DataFrame) -> str:
        name = write(self, folder, window, frame)
        written.append(name)
        if len(written) > stored_before:
            raise FileStorageError("the power went off")
        return name

    monkeypatch.setattr(FileStorage, "add_to_partition", fail_later)
    assert not run(responding).success
    assert len(written) == stored_before + 1
    with responding.state() as state:
        assert state.response_imports.committed_until("nord")["getOpens"] == watermark

    monkeypatch.undo()
    metadata = import_responses(responding)["opens"]
    again = 3  # the window that was fetched behind it overlaps
    assert (metadata["new"], metadata["known before"]) == (2 - stored_before, stored_before + 1 + again)
    assert len(stored(responding, "opens")) == 3
    assert import_responses(responding)["opens"]["new"] == 0


def test_a_run_that_fails_before_it_writes_to_the_crm_is_repeated_there(responding: Installation) -> None:
    add_campaigns(responding, MAILING)
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    with responding.crm() as crm:
        crm.exec_driver_sql("CREATE TRIGGER refuse BEFORE INSERT ON response BEGIN SELECT RAISE(ABORT, 'no'); END")
    assert any("recording responses failed" in problem for problem in problems(run(responding)))

    with responding.crm() as crm:
        crm.exec_driver_sql("DROP TRIGGER refuse")
    metadata = import_responses(responding)["opens"]
    assert (metadata["new"], metadata["written to the CRM"], metadata["known to the CRM before"]) == (0, 1, 1)


def test_the_crm_gets_each_response_of_its_people_to_its_campaigns_once(responding: Installation) -> None:
    add_campaigns(responding, MAILING)
    moment = now()
    responding.vendor.publish(
        NORD,
        "getOpens",
        [
            [ANNA, str(MAILING), epoch_ms(moment)],
            [BJOERN, str(OTHER_MAILING), epoch_ms(moment)],
            ["stranger@example.com", str(MAILING), epoch_ms(moment)],
        ],
    )
    responding.vendor.publish(NORD, "getClicks", [[ANNA, str(MAILING), epoch_ms(moment), LINK]])
    metadata = import_responses(responding)["opens"]
    numbers = ("written to the CRM", "known to the CRM before", "without a campaign in the CRM", "recipient unknown")
    assert [metadata[name] for name in numbers] == [1, 0, 1, 1]
    assert [metadata[name] for name in ("new", "known before", "rows that didn't fit")] == [3, 0, 0]

    assert [import_responses(responding)["opens"][name] for name in numbers] == [0, 1, 1, 1]
    click, opened = crm_responses(responding)
    assert (click.kind, click.detail) == ("clicks", LINK)
    assert (
        opened.kind,
        opened.mailing_id,
        opened.entity_type,
        opened.entity_id,
        opened.occurred_at,
        opened.detail,
    ) == (
        *("opens", str(MAILING), "contact", "c1"),
        *(moment, None),
    )


@pytest.mark.long
def test_a_response_is_attributed_to_the_record_with_that_address_in_the_last_list_sent(
    responding: Installation,
) -> None:
    before = now()
    with responding.crm() as crm:
        crm.execute(schema.contact.delete().where(schema.contact.c.id == "c1"))
    responding.add_contact("c9", ANNA)
    responding.day("nord")
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(moment)] for moment in (before, now())])
    import_responses(responding)

    opens = stored(responding, "opens").sort_values("occurred_at")
    assert opens["entity_id"].tolist() == ["c1", "c9"]


@pytest.mark.two_lists
def test_a_response_is_attributed_by_what_its_row_names_and_otherwise_by_the_lists(
    responding: Installation,
) -> None:
    fields = {"opt_in_id": 3, "entity_type": 4, "entity_id": 5}
    responding.settings["mandators"]["nord"]["responses"]["readers"] = {"getOpens": fields}
    moment, second = now(), timedelta(seconds=1)
    rows = [
        ["products-nord", "contact", "c4"],
        ["", "Contact ", " c4 "],
        [" Products-NORD", "contact", "erased"],
        ["newsletter-sued", "", ""],
        [],
    ]
    responding.vendor.publish(
        NORD,
        "getOpens",
        [[ANNA, str(OTHER_MAILING), epoch_ms(moment + number * second), *row] for number, row in enumerate(rows)],
    )
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(OTHER_MAILING), epoch_ms(moment)]])
    import_responses(responding)

    opens = stored(responding, "opens").sort_values("occurred_at")[["entity_id", "opt_in_id"]]
    assert opens.astype(object).where(opens.notna(), None).to_numpy().tolist() == [
        ["c4", "products-nord"],
        ["c4", None],
        ["c1", "products-nord"],
        ["c1", None],
        ["c1", None],
    ]


def test_responses_to_a_lost_snapshot_are_stored_without_records(responding: Installation) -> None:
    for file in (responding.folder / "frames").rglob("*.parquet"):
        file.unlink()
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])

    assert import_responses(responding)["opens"]["new"] == 1
    assert stored(responding, "opens")["entity_id"].isna().all()


def test_a_crm_without_tables_for_responses_is_not_used(responding: Installation) -> None:
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    metadata = import_responses(responding)["opens"]

    assert metadata["new"] == 1
    assert "written to the CRM" not in metadata


def test_header_and_german_times_are_read(responding: Installation) -> None:
    responding.settings["mandators"]["nord"]["responses"]["readers"] = {
        "getOpens": {"recipient": "Empfänger", "mailing": "Mailing", "time": "Zeit", "time_format": "%d.%m.%Y %H:%M:%S"}
    }
    local = now().replace(microsecond=0).astimezone(ZoneInfo("Europe/Berlin"))
    rows = [["Zeit", "Empfänger", "Mailing"], [f"{local:%d.%m.%Y %H:%M:%S}", ANNA, str(MAILING)]]
    responding.vendor.publish(NORD, "getOpens", rows)
    metadata = import_responses(responding)

    assert list(metadata) == ["opens"]
    assert metadata["opens"]["rows that didn't fit"] == 0
    assert stored(responding, "opens")["occurred_at"].tolist() == [local]


def test_rows_that_do_not_fit_are_reported_and_read_again_with_a_corrected_layout(responding: Installation) -> None:
    moment = now()
    good = [ANNA, str(MAILING), epoch_ms(moment)]
    moved = [BJOERN, "", epoch_ms(moment), str(OTHER_MAILING)]
    unparsed: Sequence[Sequence[str]] = [
        [BJOERN, "Sale", epoch_ms(moment - timedelta(seconds=1))],
        [BJOERN, str(2**64), epoch_ms(moment)],
    ]
    responding.vendor.publish(NORD, "getOpens", [good, moved, *unparsed])
    result = run(responding)
    assert result.success
    layout = check(result, "layout", "opens")
    assert (layout.passed, layout.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "3 rows of getOpens can't be read" in (layout.description or "")
    assert BJOERN not in str(layout)
    with responding.state() as state:
        assert state.response_imports.unparsed("nord", "getOpens") == 3
        assert "getOpens" in state.response_imports.committed_until("nord")

    responding.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {"mailing": 3}
    assert import_responses(responding)["opens"]["new"] == 1
    assert keys(responding) == [(ANNA, MAILING), (BJOERN, OTHER_MAILING)]


def test_a_layout_that_fits_no_row_does_not_stop_the_job(responding: Installation) -> None:
    responding.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {"recipient": "Empfänger"}
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    assert import_responses(responding)["opens"]["rows that didn't fit"] == 1

    responding.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {}
    metadata = import_responses(responding)["opens"]
    assert (metadata["new"], metadata["rows that didn't fit"]) == (1, 0)


@pytest.mark.long
@pytest.mark.two_lists
def test_a_reader_can_serve_feedback_and_responses_each_with_its_own_watermark(responding: Installation) -> None:
    mandator = responding.settings["mandators"]["nord"]
    mandator["feedback"] = {"readers": {"getUnsubscribes": {}, "getResponses": {"time": 2, "category": 3}}}
    mandator["responses"] = {"readers": {"getResponses": {"category": 3}}}
    responding.vendor.publish(NORD, "getResponses", [[ANNA, str(MAILING), epoch_ms(now()), "autoresponder"]])
    import_responses(responding)
    with responding.state() as state:
        assert "getResponses" not in state.feedback_imports.committed_until("nord")
        assert (state.feedback_imports.pending("nord"), state.feedback_imports.uncommitted_count("nord")) == ([], 0)
        until = state.response_imports.committed_until("nord")

    responding.vendor.publish(NORD, "getResponses", [[BJOERN, str(MAILING), epoch_ms(now()), "Hardbounce"]])
    responding.list_settings()["limits"] = responding.list_settings(name="products")["limits"] = {"max_shrink": 0.3}
    responding.day("nord")
    assert BJOERN not in responding.addresses()
    with responding.state() as state:
        assert "getResponses" in state.feedback_imports.committed_until("nord")
        assert state.response_imports.committed_until("nord") == until
    import_responses(responding)
    assert stored(responding, "responses")["category"].tolist() == ["autoresponder", "Hardbounce"]


def test_the_daily_replacement_imports_no_responses(responding: Installation) -> None:
    assert not responding.vendor.calls("getOpens")
    responding.day("nord")
    assert not responding.vendor.calls("getOpens")


def test_raw_files_are_removed_after_their_retention_and_the_dataset_stays(responding: Installation) -> None:
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    import_responses(responding)
    raw = responding.folder / "frames" / "responses" / "nord" / "getOpens"
    *old, newest = sorted(raw.glob("*.csv"))
    assert old

    with responding.state() as state:
        frames, moment = FileStorage(str(responding.folder / "frames")), now()
        assert remove_raw_rows(frames, state.response_imports, "nord", moment - timedelta(days=1), moment) >= len(old)
    import_responses(responding)
    assert not set(old) & set(raw.glob("*.csv"))
    assert newest.exists()
    assert keys(responding) == [(ANNA, MAILING)]


def test_no_address_is_in_dagsters_event_log(responding: Installation) -> None:
    add_campaigns(responding, MAILING)
    responding.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())], [BJOERN, "?", "?"]])
    result = run(responding)

    assert "example.org" not in str(result.all_events)


def test_responses_of_an_erased_person_go_and_do_not_come_back_when_the_vendor_repeats_them(
    responding: Installation,
) -> None:
    responding.environment["ERASURE_KEY"] = "k" * 32
    responding.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}
    moment = now()
    opens = [[ANNA.upper(), str(MAILING), epoch_ms(moment)], [BJOERN, str(MAILING), epoch_ms(moment)]]
    clicks = [[ANNA, str(MAILING), epoch_ms(moment), LINK]]
    responding.vendor.publish(NORD, "getOpens", opens)
    responding.vendor.publish(NORD, "getClicks", clicks)
    import_responses(responding)
    folder = responding.folder / "frames" / "responses"
    assert leftovers(folder, [ANNA]) != []

    document = erase_people(
        responding.configuration, [ANNA], "request 7", Console(quiet=True), dry_run=False, confirmed=True
    )
    (place,) = [place for place in document.erasures[0].places if place.place == RESPONSES]
    assert (place.state, place.rows) == ("done", 4), "two as received, two by day"
    assert leftovers(folder, [ANNA]) == []
    assert keys(responding) == [(BJOERN, MAILING)]

    responding.vendor.publish(NORD, "getOpens", [*opens, [ANNA, str(OTHER_MAILING), epoch_ms(now())]])
    responding.vendor.publish(NORD, "getClicks", clicks)
    import_responses(responding)
    assert leftovers(folder, [ANNA]) == []
    assert leftovers(folder, [LINK]) == [], "it may be of the person alone"
    assert [key for key in keys(responding) if "@erased.invalid" not in key[0]] == [(BJOERN, MAILING)]
    with open_sources(responding.configuration) as sources:
        for address, responses in ((ANNA, 0), (BJOERN, 4)):
            data = collect_person_data(sources, PersonQuery.parse(address), lambda *_: None)
            (place_of_responses,) = [place for place in data.places if place.title.startswith("Opens")]
            assert len(place_of_responses.rows) == responses
