"""Lists by filter or query, and whom they exclude."""

import re
from io import StringIO

import pytest
from dagster import AssetCheckSeverity
from rich.console import Console
from sqlalchemy import text

from campaign_sync.cli.check import check_everything
from campaign_sync.cli.run import problems
from campaign_sync.cli.why import print_why
from campaign_sync.crm.sql import schema
from campaign_sync_tests.installation import ADDRESSES, Installation
from campaign_sync_tests.scenarios.daily_run import rejections

pytestmark = pytest.mark.usefixtures("without_retries")

VIP = "VIP “nie anschreiben”"

COLOGNE = {
    "entity_type": "contact",
    "filter": {
        "all": [
            {"field": "city", "in": ["KÖLN", "Bonn"]},
            {"not": {"field": "last_name", "like": "%gmbh%"}},
            {"field": "first_name", "is null": False},
        ]
    },
}


@pytest.fixture
def filtered(installation: Installation) -> Installation:
    """Return an installation whose newsletter is for people in Cologne and Bonn, except for the VIPs.

    `c2` is a VIP. `c6` has the address of `c2`, `c7` no last name, `c8` another city, `c9` is a company.
    """
    section = installation.list_settings()
    section["select"] = COLOGNE
    section["exclude"] = [
        {"marketing_list": VIP},
        {"query": "SELECT entity_id FROM competitors", "entity_type": "lead"},
    ]
    with installation.crm() as crm:
        crm.execute(schema.marketing_list.insert().values(id="vip", name=VIP, entity_type="contact", kind="static"))
        crm.execute(
            schema.marketing_list_member.insert().values(
                marketing_list_id="vip", entity_type="contact", entity_id=" c2 "
            )
        )
        crm.execute(schema.lead.insert().values(id="l1", email=" PERSON3@example.org"))
        crm.execute(text("CREATE VIEW competitors AS SELECT id AS entity_id FROM lead"))
    installation.add_contact("c6", " Person2@EXAMPLE.org ", last_name="Weiß")
    installation.add_contact("c7", "person7@example.org", last_name=None, city=" ko\u0308ln\r\n")
    installation.add_contact("c8", "person8@example.org", city="Köln-Deutz")
    installation.add_contact("c9", "person9@example.org", last_name="Groß GmbH & Co. KG")
    return installation


def why(installation: Installation, who: str) -> str:
    output = StringIO()
    print_why(installation.configuration, who, Console(file=output, width=500))
    return output.getvalue()


def test_a_filter_picks_and_exclusions_leave_out_also_the_same_address_of_another_record(
    filtered: Installation,
) -> None:
    result = filtered.day("nord")

    assert filtered.addresses() == [ADDRESSES[0], ADDRESSES[3], ADDRESSES[4]]
    assert rejections(filtered, result.run_id) == {("selection", "excluded"): 3}
    by = f"selection: excluded by the marketing list “{VIP}” or the query of leads, which names them or another record"
    for record in ("contact:c2", "contact:c6", "contact:c3"):
        assert by in why(filtered, record)
    assert "not selected: the filter of contacts by city, first_name, last_name didn't name them" in why(
        filtered, "contact:c9"
    )


def test_what_is_excluded_is_described_on_dagsters_pages_without_the_values_of_filters(filtered: Installation) -> None:
    (selection,) = [
        spec
        for spec in filtered.definitions.resolve_all_asset_specs()
        if spec.key.path == ["nord", "newsletter_selection"]
    ]

    assert selection.kinds == {"sql", "parquet"}
    assert selection.metadata["filter"] == "filter of contacts by city, first_name, last_name"
    assert selection.metadata["excluded"] == f"marketing list “{VIP}” or the query of leads"
    assert f"except for everybody in the marketing list “{VIP}”" in (selection.description or "")
    assert "Bonn" not in str(selection)


def test_an_exclusion_without_anybody_is_a_warning_that_stops_nothing(filtered: Installation) -> None:
    with filtered.crm() as crm:
        crm.execute(text("DELETE FROM lead"))

    result = filtered.day("nord")

    assert result.success
    (check,) = [
        evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == "exclusions"
    ]
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.WARN)
    assert check.description is not None
    assert check.description.startswith("mandators.nord.lists.newsletter.exclude.1: no record is in it")
    (selection,) = result.asset_materializations_for_node("nord__newsletter_selection")
    assert selection.metadata["in mandators.nord.lists.newsletter.exclude.0"].value == 1


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        ("DELETE FROM marketing_list WHERE id = 'vip'", "exclude.0", "the CRM has no marketing list"),
        ("DROP VIEW competitors", "exclude.1", "reading the query of leads"),
        ("ALTER TABLE contact RENAME COLUMN city TO place", "select", "has no column city"),
    ],
)
def test_what_can_not_be_read_completely_refuses_the_list_untouched(
    filtered: Installation, change: str, place: str, problem: str
) -> None:
    filtered.first_day("nord")
    with filtered.crm() as crm:
        crm.execute(text(change))

    result = filtered.run("nord")

    assert not result.success
    (sentence, *_) = problems(result)
    assert problem in sentence
    assert place == "select" or f"mandators.nord.lists.newsletter.{place}: " in sentence
    assert filtered.clears() == 1
    assert filtered.addresses() == [ADDRESSES[0], ADDRESSES[3], ADDRESSES[4]]


def test_check_names_what_each_exclusion_has_and_everything_that_can_not_be_read(filtered: Installation) -> None:
    section = filtered.list_settings()
    section["exclude"] += [
        {"entity_type": "contact", "filter": {"field": "city", "=": "Atlantis"}},
        {"report": "Verschwunden"},
        {"entity_type": "lead", "filter": {"field": "score", ">": 5}},
    ]

    passed, lines = checked(filtered)

    place = "mandators.nord.lists.newsletter.exclude"
    assert not passed
    assert f"✓ {place}.0 the marketing list “{VIP}” excludes 1" in lines
    assert f"✓ {place}.1 the query of leads excludes 1" in lines
    assert f"! {place}.2 the filter of contacts by city excludes 0" in lines
    assert f"✗ {place}.3 the CRM has no report 'Verschwunden' (report.name); it has 'All contacts'" in lines
    assert f"✗ {place}.4 the filter of leads by score has no column score that everybody in it has;" in lines
    assert "filter of contacts by city, first_name, last_name names 6, 6 of them with newsletter-nord" in lines


def checked(installation: Installation) -> tuple[bool, str]:
    """Return whether `campaign-sync check` passes, and what it prints, without frames and double blanks."""
    output = StringIO()
    passed = check_everything(installation.configuration, Console(file=output, width=700))
    return passed, re.sub(r"[ │┃]+", " ", output.getvalue())
