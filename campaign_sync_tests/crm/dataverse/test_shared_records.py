"""Consents and bounces are read as a whole once, and as they are now for every view."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaign_sync.crm.dataverse.consents import CONSENTS, EMAIL, OF_PURPOSE, OPTED_IN, OPTED_OUT
from campaign_sync.crm.port import Crm
from campaign_sync.crm.testing import NEWS
from campaign_sync_tests.crm.conformance.dataverse_tables import dataverse_settings
from campaign_sync_tests.crm.dataverse.conftest import LIST, OpenCrm, add_people
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse

DATE = "2026-01-01T10:00:00Z"

MINUTE = timedelta(minutes=1)


def kinds(crm: Crm) -> list[str]:
    with crm.snapshot([NEWS]) as snapshot:
        return [str(kind) for frame in snapshot.select(LIST, NEWS, []) for kind in frame["consent_kind"]]


def pages(dataverse: Dataverse) -> int:
    """Return how many pages were read without asking what changed, since it was asked for the last time."""
    calls = [
        call for call in dataverse.calls if "fetchXml" in call and "modifiedon" not in call.partition("<filter")[2]
    ]
    dataverse.calls.clear()
    return len(calls)


def test_a_second_view_reads_what_changed(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 25)
    for record in dataverse.rows["contact"].values():
        record.update(cs_news=True, cs_newson=DATE, modifiedon=DATE)
    crm = open_crm()
    assert kinds(crm) == ["granted"] * 25
    assert pages(dataverse)
    dataverse.rows["contact"]["c0000"]["cs_news"] = False
    dataverse.rows["contact"]["c0001"]["donotbulkemail"] = True
    assert sorted(kinds(crm)) == ["granted"] * 23 + ["withdrawn"] * 2
    assert pages(dataverse) == 0


def test_calculated_columns_are_read_completely_for_every_view(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    """Their values change without a change of the record."""
    add_people(dataverse, 1)
    dataverse.calculated.add("contact.cs_news")
    contact = dataverse.rows["contact"]["c0000"]
    contact.update(cs_news=True, cs_newson=DATE)
    crm = open_crm()
    assert kinds(crm) == ["granted"]
    pages(dataverse)
    contact.update(cs_news=False, modifiedon=DATE)
    assert kinds(crm) == ["withdrawn"]
    assert pages(dataverse)


def test_a_second_view_sees_changed_consents_of_purposes(dataverse: Dataverse, open_crm: OpenCrm, url: str) -> None:
    add_people(dataverse, 1)
    purpose = dataverse.add("msdynmkt_purpose", msdynmkt_name="Commercial")
    consent = dataverse.add(
        CONSENTS,
        msdynmkt_contactpointvalue="P0@example.org",
        msdynmkt_contactpointconsenttype=OF_PURPOSE,
        msdynmkt_contactpointtype=EMAIL,
        msdynmkt_value=OPTED_IN,
        msdynmkt_purposeid=purpose,
    )
    crm = open_crm(settings=dataverse_settings(url, {NEWS: {"purpose": "Commercial"}}))
    assert kinds(crm) == ["granted"]
    record = dataverse.rows[CONSENTS][consent]
    record["msdynmkt_contactpointtype"] = EMAIL + 1
    assert kinds(crm) == ["nan"]
    record.update(msdynmkt_contactpointtype=EMAIL, msdynmkt_value=OPTED_OUT)
    assert kinds(crm) == ["withdrawn"]


def test_a_second_view_sees_bounces_that_came_and_went(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    crm = open_crm()
    for has_bounced in (False, True, False):
        dataverse.rows["contact"]["c0000"]["cs_bounced"] = has_bounced
        with crm.snapshot(()) as snapshot:
            assert snapshot.suppression("nord").empty is not has_bounced


@pytest.mark.parametrize("is_new", [True, False])
def test_records_that_change_while_pages_are_read_are_no_missing_rows(
    dataverse: Dataverse, open_crm: OpenCrm, url: str, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    """They match only after their page was read, and are among those that are counted in the end."""
    add_people(dataverse, 40)
    contacts = dataverse.rows["contact"]
    crm = open_crm(settings=dataverse_settings(url, {NEWS: {"purpose": "Commercial"}}))
    dataverse.add("msdynmkt_purpose", msdynmkt_name="Commercial")
    if not is_new:
        kinds(crm)
    for number in range(10, 40):
        contacts[f"c{number:04}"].update(donotemail=True, modifiedon=f"{datetime.now(UTC) - MINUTE:%Y-%m-%dT%H:%M:%SZ}")
    fetch = dataverse._fetch

    def fetch_and_change(table: str, text: str) -> Any:
        if 'page="2"' in text and "donotemail" in text:
            contacts["c0000"]["donotemail"] = True
        return fetch(table, text)

    monkeypatch.setattr(dataverse, "_fetch", fetch_and_change)
    assert kinds(crm)[10:] == ["withdrawn"] * 30
    monkeypatch.undo()
    assert kinds(crm)[0] == "withdrawn"
