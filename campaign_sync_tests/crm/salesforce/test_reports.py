"""Reports and list views: complete, or refused."""

import pytest

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.salesforce.ids import entity_type_of_id, long_id
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.salesforce.analytics import MOST_ROWS, StandInReport
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.test_reading import selected

REPORT = Pick("report", "Visitors")

COLUMNS = {"CONTACT_ID": "id", "VISITS": "int"}


def contacts(org: Org, number: int) -> list[str]:
    """Add contacts with ids of Salesforce that differ in case alone, and return their short ids."""
    letters = "AaBbCcDdEeFfGgHhIi"[:number]
    ids = [f"0035i0000000xy{letter}" for letter in letters]
    for short in ids:
        org.add("Contact", Id=long_id(short), Email=f"{short[-1]}@example.org")
    return ids


def report(org: Org, rows: list[list[object]], **how: object) -> StandInReport:
    org.add("Report", Id="00O000000000001AAA", Name=REPORT.name)
    org.reports["00O000000000001AAA"] = made = StandInReport(COLUMNS, rows, **how)  # type: ignore[arg-type]
    return made


def test_ids_get_their_long_form() -> None:
    assert long_id("0035i00000ABcdE") == "0035i00000ABcdEAAT"
    assert entity_type_of_id("00Q5i0000000xya") is EntityType.LEAD
    assert entity_type_of_id("No id") is None


def test_a_report_has_its_own_columns_by_name_or_label(org: Org, open_crm: OpenCrm) -> None:
    report(org, [[contact, number] for number, contact in enumerate(contacts(org, 3))] + [[None, 9]])
    for name in ("VISITS", "Visits"):
        frame = selected(open_crm(REPORT, columns=(name,)), REPORT, [name])
        assert sorted(frame[name]) == ["0", "1", "2"]


def test_a_report_of_more_rows_than_salesforce_returns_is_read_in_parts(org: Org, open_crm: OpenCrm) -> None:
    ids = contacts(org, 18)
    made = report(org, [[contact, visits] for contact in ids for visits in (1, 2)])
    assert sorted(selected(open_crm(REPORT), REPORT)["entity_id"]) == sorted(map(long_id, ids))
    assert len(made.runs) > len(made.rows) / MOST_ROWS


@pytest.mark.parametrize(
    ("how", "columns", "problem"),
    [
        ({"form": "SUMMARY"}, COLUMNS, "has groups"),
        ({"scope": "user"}, COLUMNS, "only the records of the user who runs it"),
        ({"top_rows": 9}, COLUMNS, "without a row limit"),
        ({}, {"CASESAFE": "string", "VISITS": "int"}, "no formula"),
        ({}, {"CONTACT_ID": "id", "ACCOUNT_ID": "id"}, "exactly one column"),
    ],
)
def test_a_report_that_cannot_be_read_completely_is_refused(
    org: Org, open_crm: OpenCrm, how: dict[str, object], columns: dict[str, str], problem: str
) -> None:
    made = report(org, [[contact, "0015i0000000xyA"] for contact in contacts(org, 9)], **how)
    made.columns = columns
    with pytest.raises(CrmError, match=problem):
        selected(open_crm(REPORT), REPORT)


def test_a_report_with_too_many_rows_of_a_record_is_refused(org: Org, open_crm: OpenCrm) -> None:
    (contact,) = contacts(org, 1)
    report(org, [[contact, number] for number in range(MOST_ROWS + 1)])
    with pytest.raises(CrmError, match="too many rows of a single record"):
        selected(open_crm(REPORT), REPORT)


def test_a_report_that_loses_rows_is_refused(org: Org, open_crm: OpenCrm) -> None:
    report(org, [[contact, 1] for contact in contacts(org, 3)], loses=True)
    with pytest.raises(CrmError, match="2 of 3 rows"):
        selected(open_crm(REPORT), REPORT)


def view(org: Org, query: str, scope: str | None = "everything") -> None:
    org.add("ListView", Id="00B000000000001AAA", Name=REPORT.name, SobjectType="Contact")
    org.views["00B000000000001AAA"] = {"query": query, "scope": scope}


def test_a_list_view_is_read_without_its_order_and_columns(org: Org, open_crm: OpenCrm) -> None:
    org.add("Contact", Email="a@example.org", MailingCity="x ORDER BY y")
    org.add("Contact", Email="b@example.org")
    condition = "WHERE MailingCity = 'x ORDER BY y'"
    view(org, f"SELECT Name, Id FROM Contact USING SCOPE everything {condition} ORDER BY Name ASC NULLS FIRST, Id")
    assert selected(open_crm(REPORT), REPORT)["email"].tolist() == ["a@example.org"]


def test_a_list_view_of_the_users_own_records_is_refused(org: Org, open_crm: OpenCrm) -> None:
    view(org, "SELECT Name, Id FROM Contact USING SCOPE mine ORDER BY Name", "mine")
    with pytest.raises(CrmError, match="only some records of each user"):
        selected(open_crm(REPORT), REPORT)


def test_a_report_and_a_list_view_of_the_same_name_are_refused(org: Org, open_crm: OpenCrm) -> None:
    report(org, [])
    view(org, "SELECT Id FROM Contact")
    with pytest.raises(CrmError, match="2 reports and list views"):
        selected(open_crm(REPORT), REPORT)


def test_what_is_neither_report_nor_list_view_is_named(open_crm: OpenCrm) -> None:
    with pytest.raises(CrmError, match="“Visitors”: Salesforce has no reports and list views"):
        selected(open_crm(REPORT), REPORT)
