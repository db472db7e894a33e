"""What recipients did with mailings comes back once, whatever happens on the way."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.domain.windows import Window
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync_tests.installation import NEWSLETTER, NORD, PRODUCTS, Installation, epoch_ms

MAILING, ANOTHER = 70001, 70002
ANNA, BJOERN = "person1@example.org", "person2@example.org"
LINK = "https://shop.example.org/sale?a=1&b=ü"
HOUR = timedelta(hours=1)


@pytest.fixture
def answering(installation: Installation) -> Installation:
    """An installation that asks for opens and clicks; its lists were sent a moment ago."""
    installation.settings["mandators"]["nord"]["responses"] = {
        "readers": {"getOpens": {}, "getClicks": {"link": 3}},
    }
    installation.day("nord")
    installation.vendor.add_mailing(NORD, MAILING, "Sale", status="DONE", list_ids=[NEWSLETTER])
    installation.vendor.add_mailing(NORD, ANOTHER, "To both", status="DONE", list_ids=[NEWSLETTER, PRODUCTS])
    return installation


def now() -> datetime:
    """Without what milliseconds can't hold."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def run(installation: Installation) -> dg.ExecuteInProcessResult:
    job = installation.definitions.resolve_job_def("nord_responses")
    return job.execute_in_process(
        raise_on_error=False, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )


def bring_back(installation: Installation) -> dict[str, dict[str, Any]]:
    """Run the job, which must succeed; what it tells of each kind."""
    result = run(installation)
    assert result.success, problems(result)
    told = {}
    for event in result.get_asset_materialization_events():
        assert event.asset_key
        values = event.materialization.metadata
        told[event.asset_key.path[-1]] = {name: value.value for name, value in values.items()}
    return told


def stored(installation: Installation, kind: str) -> pd.DataFrame:
    """The dataset as anybody reads it."""
    return pd.read_parquet(installation.folder / "frames" / "responses" / "nord" / kind)


def keys(installation: Installation, kind: str = "opens") -> list[tuple[str, int]]:
    frame = stored(installation, kind)
    return sorted(zip(frame["recipient_id"], frame["mailing_id"], strict=True))


def add_campaigns(installation: Installation, *mailing_ids: int) -> None:
    schema.create_crm(installation.crm_url, responses=True)
    with installation.crm() as crm:
        for mailing_id in mailing_ids:
            crm.execute(schema.campaign.insert().values(mailing_id=str(mailing_id)))


def in_the_crm(installation: Installation) -> list[Any]:
    with installation.crm() as crm:
        return list(crm.execute(schema.response.select().order_by(schema.response.c.kind)))


@pytest.mark.two_lists
def test_opens_and_clicks_stand_in_a_dataset_by_day_with_whom_they_are_of(answering: Installation) -> None:
    moment = now()
    yesterday = moment - timedelta(days=1)
    answering.vendor.publish(
        NORD,
        "getOpens",
        [[ANNA, str(MAILING), epoch_ms(moment)], ["Stranger@Example.com", str(MAILING), epoch_ms(yesterday)]],
    )
    answering.vendor.publish(NORD, "getClicks", [[ANNA, str(ANOTHER), epoch_ms(moment), LINK]])
    bring_back(answering)

    opens = stored(answering, "opens").sort_values("recipient_id")
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
    (click,) = stored(answering, "clicks").to_dict("records")
    assert (click["link"], click["entity_id"]) == (LINK, "c1")
    assert pd.isna(click["opt_in_id"]), "the mailing went to two lists, and she is in both"


def test_every_run_goes_on_where_the_last_one_ended_and_stores_nothing_twice(answering: Installation) -> None:
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    assert bring_back(answering)["opens"]["new"] == 1

    answering.vendor.publish(NORD, "getOpens", [[BJOERN, str(MAILING), epoch_ms(now())]])
    told = bring_back(answering)["opens"]
    assert (told["dagster/row_count"], told["new"], told["known before"]) == (2, 1, 1)
    told = bring_back(answering)["opens"]
    assert (told["dagster/row_count"], told["new"], told["known before"]) == (2, 0, 2)
    assert keys(answering) == [(ANNA, MAILING), (BJOERN, MAILING)]


def test_a_file_that_comes_late_is_found_in_the_overlap(answering: Installation) -> None:
    bring_back(answering)
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now() - 2 * HOUR)]], now() - HOUR)

    assert bring_back(answering)["opens"]["new"] == 1
    assert keys(answering) == [(ANNA, MAILING)]


def test_the_same_row_twice_is_one_response_and_another_time_or_link_is_another(answering: Installation) -> None:
    moment = now()
    row = [ANNA, str(MAILING), epoch_ms(moment), LINK]
    answering.vendor.publish(
        NORD, "getClicks", [row, row, [*row[:3], "https://shop.example.org/"], [*row[:3], ""], [*row[:3], ""]]
    )
    answering.vendor.publish(NORD, "getClicks", [[ANNA, str(MAILING), epoch_ms(moment + HOUR), LINK]])

    assert bring_back(answering)["clicks"]["new"] == 4
    assert bring_back(answering)["clicks"]["known before"] == 4
    assert len(stored(answering, "clicks")) == 4


@pytest.mark.parametrize("deadly", [0, 1, 2])
def test_a_run_that_dies_between_the_files_and_the_watermark_is_repeated_without_a_trace(
    answering: Installation, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    bring_back(answering)
    with answering.state() as state:
        watermark = state.response_imports.committed_until("nord")["getOpens"]
    days = [now() - timedelta(days=day) for day in range(3)]
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(day)] for day in days], now() - HOUR)
    written: list[str] = []
    write = FileStorage.add_to_partition

    def dying(self: FileStorage, folder: str, window: Window, frame: pd.DataFrame) -> str:
        name = write(self, folder, window, frame)
        written.append(name)
        if len(written) > deadly:
            raise FileStorageError("the power went off")
        return name

    monkeypatch.setattr(FileStorage, "add_to_partition", dying)
    assert not run(answering).success
    assert len(written) == deadly + 1
    with answering.state() as state:
        assert state.response_imports.committed_until("nord")["getOpens"] == watermark

    monkeypatch.undo()
    told = bring_back(answering)["opens"]
    again = 3  # the window that was fetched behind it overlaps
    assert (told["new"], told["known before"]) == (2 - deadly, deadly + 1 + again)
    assert len(stored(answering, "opens")) == 3
    assert bring_back(answering)["opens"]["new"] == 0


def test_a_death_before_the_crm_has_them_loses_none_there(answering: Installation) -> None:
    add_campaigns(answering, MAILING)
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    with answering.crm() as crm:
        crm.exec_driver_sql("CREATE TRIGGER refuse BEFORE INSERT ON response BEGIN SELECT RAISE(ABORT, 'no'); END")
    assert any("recording responses failed" in told for told in problems(run(answering)))

    with answering.crm() as crm:
        crm.exec_driver_sql("DROP TRIGGER refuse")
    told = bring_back(answering)["opens"]
    assert (told["new"], told["written to the CRM"], told["known to the CRM before"]) == (0, 1, 1)


def test_the_crm_gets_those_of_its_people_and_campaigns_once(answering: Installation) -> None:
    add_campaigns(answering, MAILING)
    moment = now()
    answering.vendor.publish(
        NORD,
        "getOpens",
        [
            [ANNA, str(MAILING), epoch_ms(moment)],
            [BJOERN, str(ANOTHER), epoch_ms(moment)],
            ["stranger@example.com", str(MAILING), epoch_ms(moment)],
        ],
    )
    answering.vendor.publish(NORD, "getClicks", [[ANNA, str(MAILING), epoch_ms(moment), LINK]])
    told = bring_back(answering)["opens"]
    numbers = ("written to the CRM", "known to the CRM before", "without a campaign in the CRM", "recipient unknown")
    assert [told[name] for name in numbers] == [1, 0, 1, 1]
    assert [told[name] for name in ("new", "known before", "rows that didn't fit")] == [3, 0, 0]

    assert [bring_back(answering)["opens"][name] for name in numbers] == [0, 1, 1, 1]
    click, opened = in_the_crm(answering)
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


def test_a_response_is_of_whoever_had_the_address_when_the_list_was_sent_last(answering: Installation) -> None:
    before = now()
    with answering.crm() as crm:
        crm.execute(schema.contact.delete().where(schema.contact.c.id == "c1"))
    answering.add_contact("c9", ANNA)
    answering.day("nord")
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(moment)] for moment in (before, now())])
    bring_back(answering)

    opens = stored(answering, "opens").sort_values("occurred_at")
    assert opens["entity_id"].tolist() == ["c1", "c9"]


@pytest.mark.two_lists
def test_the_record_that_a_row_names_is_the_responder_and_the_lists_tell_what_it_doesnt_name(
    answering: Installation,
) -> None:
    fields = {"opt_in_id": 3, "entity_type": 4, "entity_id": 5}
    answering.settings["mandators"]["nord"]["responses"]["readers"] = {"getOpens": fields}
    moment, second = now(), timedelta(seconds=1)
    rows = [
        ["products-nord", "contact", "c4"],
        ["", "Contact ", " c4 "],
        [" Products-NORD", "contact", "erased"],
        ["newsletter-sued", "", ""],
        [],
    ]
    answering.vendor.publish(
        NORD,
        "getOpens",
        [[ANNA, str(ANOTHER), epoch_ms(moment + number * second), *row] for number, row in enumerate(rows)],
    )
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(ANOTHER), epoch_ms(moment)]])
    bring_back(answering)

    opens = stored(answering, "opens").sort_values("occurred_at")[["entity_id", "opt_in_id"]]
    assert opens.astype(object).where(opens.notna(), None).to_numpy().tolist() == [
        ["c4", "products-nord"],
        ["c4", None],
        ["c1", "products-nord"],
        ["c1", None],
        ["c1", None],
    ]


def test_where_a_snapshot_is_lost_responses_come_back_without_people(answering: Installation) -> None:
    for file in (answering.folder / "frames").rglob("*.parquet"):
        file.unlink()
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])

    assert bring_back(answering)["opens"]["new"] == 1
    assert stored(answering, "opens")["entity_id"].isna().all()


def test_a_crm_without_these_tables_is_not_asked(answering: Installation) -> None:
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    told = bring_back(answering)["opens"]

    assert told["new"] == 1
    assert "written to the CRM" not in told


def test_header_and_german_times_are_read(answering: Installation) -> None:
    answering.settings["mandators"]["nord"]["responses"]["readers"] = {
        "getOpens": {"recipient": "Empfänger", "mailing": "Mailing", "time": "Zeit", "time_format": "%d.%m.%Y %H:%M:%S"}
    }
    local = now().replace(microsecond=0).astimezone(ZoneInfo("Europe/Berlin"))
    rows = [["Zeit", "Empfänger", "Mailing"], [f"{local:%d.%m.%Y %H:%M:%S}", ANNA, str(MAILING)]]
    answering.vendor.publish(NORD, "getOpens", rows)
    told = bring_back(answering)

    assert list(told) == ["opens"]
    assert told["opens"]["rows that didn't fit"] == 0
    assert stored(answering, "opens")["occurred_at"].tolist() == [local]


def test_rows_that_do_not_fit_warn_and_are_read_again_when_the_layout_is_mended(answering: Installation) -> None:
    moment = now()
    good = [ANNA, str(MAILING), epoch_ms(moment)]
    moved = [BJOERN, "", epoch_ms(moment), str(ANOTHER)]
    unparsed: Sequence[Sequence[str]] = [
        [BJOERN, "Sale", epoch_ms(moment - timedelta(seconds=1))],
        [BJOERN, str(2**64), epoch_ms(moment)],
    ]
    answering.vendor.publish(NORD, "getOpens", [good, moved, *unparsed])
    result = run(answering)
    assert result.success
    (check,) = [one for one in result.get_asset_check_evaluations() if one.asset_key.path[-1] == "opens"]
    assert (check.check_name, check.passed, check.severity) == ("layout", False, dg.AssetCheckSeverity.WARN)
    assert "3 rows of getOpens can't be read" in (check.description or "")
    assert BJOERN not in str(check)
    with answering.state() as state:
        assert state.response_imports.unparsed("nord", "getOpens") == 3
        assert "getOpens" in state.response_imports.committed_until("nord")

    answering.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {"mailing": 3}
    assert bring_back(answering)["opens"]["new"] == 1
    assert keys(answering) == [(ANNA, MAILING), (BJOERN, ANOTHER)]


def test_a_layout_that_fits_nothing_stores_nothing_and_stops_nothing(answering: Installation) -> None:
    answering.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {"recipient": "Empfänger"}
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    assert bring_back(answering)["opens"]["rows that didn't fit"] == 1

    answering.settings["mandators"]["nord"]["responses"]["readers"]["getOpens"] = {}
    told = bring_back(answering)["opens"]
    assert (told["new"], told["rows that didn't fit"]) == (1, 0)


@pytest.mark.two_lists
def test_one_reader_can_serve_feedback_and_responses_each_with_its_own_watermark(answering: Installation) -> None:
    mandator = answering.settings["mandators"]["nord"]
    mandator["feedback"] = {"readers": {"getUnsubscribes": {}, "getResponses": {"time": 2, "category": 3}}}
    mandator["responses"] = {"readers": {"getResponses": {"category": 3}}}
    answering.vendor.publish(NORD, "getResponses", [[ANNA, str(MAILING), epoch_ms(now()), "autoresponder"]])
    bring_back(answering)
    with answering.state() as state:
        assert "getResponses" not in state.feedback_imports.committed_until("nord")
        assert (state.feedback_imports.pending("nord"), state.feedback_imports.uncommitted_count("nord")) == ([], 0)
        until = state.response_imports.committed_until("nord")

    answering.vendor.publish(NORD, "getResponses", [[BJOERN, str(MAILING), epoch_ms(now()), "Hardbounce"]])
    answering.list_settings()["limits"] = answering.list_settings(name="products")["limits"] = {"max_shrink": 0.3}
    answering.day("nord")
    assert BJOERN not in answering.addresses()
    with answering.state() as state:
        assert "getResponses" in state.feedback_imports.committed_until("nord")
        assert state.response_imports.committed_until("nord") == until
    bring_back(answering)
    assert stored(answering, "responses")["category"].tolist() == ["autoresponder", "Hardbounce"]


def test_the_daily_replace_brings_no_responses_and_asks_for_none(answering: Installation) -> None:
    assert not answering.vendor.calls("getOpens")
    answering.day("nord")
    assert not answering.vendor.calls("getOpens")


def test_raw_files_go_when_their_time_is_over_and_the_dataset_stays(answering: Installation) -> None:
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())]])
    bring_back(answering)
    raw = answering.folder / "frames" / "responses" / "nord" / "getOpens"
    *old, newest = sorted(raw.glob("*.csv"))
    assert old

    answering.settings["mandators"]["nord"]["feedback"] = {"keep_files": "1d"}
    bring_back(answering)
    assert not set(old) & set(raw.glob("*.csv"))
    assert newest.exists()
    assert keys(answering) == [(ANNA, MAILING)]


def test_nobody_is_named_in_what_dagster_shows(answering: Installation) -> None:
    add_campaigns(answering, MAILING)
    answering.vendor.publish(NORD, "getOpens", [[ANNA, str(MAILING), epoch_ms(now())], [BJOERN, "?", "?"]])
    result = run(answering)

    assert "example.org" not in str(result.all_events)
