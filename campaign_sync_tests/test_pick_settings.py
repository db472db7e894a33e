"""`select` and `exclude` in the configuration."""

from pathlib import Path
from textwrap import dedent, indent

import pytest
import yaml
from jsonschema import Draft202012Validator

from campaign_sync.config import configuration_schema
from campaign_sync.crm.needs import crm_needs
from campaign_sync.crm.port import CrmNeeds, Pick
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.filter import AllOf, AnyOf, Comparison, NotOf
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync_tests.test_configuration import MINIMAL, load, problems

SELECT = "        select: {marketing_list: Newsletter}\n"

EVERYTHING = """\
select:
  entity_type: contact
  filter:
    all:
      - {field: country, "=": DE}
      - {field: postal_code, ">": "70000"}
      - any: [{field: city, in: [Köln, 7, 2026-03-01]}, {field: company, like: '%gmbh\\_%'}]
      - not: {field: language, is null: true}
      - {field: born, <: 2000-12-31, }
      - {field: edited, ">": 2026-03-01 12:00:00+01:00}
      - {field: vip, "=": true}
      - {field: points, <: -0.5}
      - {field: street, is null: false}
exclude:
  - marketing_list: VIP
  - {query: "SELECT id AS entity_id FROM lead WHERE city = 'Köln: Süd'", entity_type: lead}
  - {filter: {field: "=", "=": {env: NORD_USERNAME}}, entity_type: account}
attributes: {Ort: city, Mail: email}
"""


def with_select(text: str) -> str:
    """The minimal file with this in place of `select`, from line 13 and column 9."""
    return MINIMAL.replace(SELECT, indent(dedent(text), " " * 8))


def loaded(folder: Path, text: str) -> ListSettings:
    return list_settings(load(folder, with_select(text)), "nord", "newsletter")


def test_filters_queries_and_exclusions_are_read(tmp_path: Path) -> None:
    settings = loaded(tmp_path, EVERYTHING)
    assert settings.pick == Pick(
        "filter",
        "born, city, company, country, edited, language, points, postal_code, street, vip",
        EntityType.CONTACT,
        AllOf(
            (
                Comparison("country", "=", ("DE",)),
                Comparison("postal_code", ">", ("70000",)),
                AnyOf(
                    (Comparison("city", "in", ("Köln", 7, "2026-03-01")), Comparison("company", "like", ("%gmbh\\_%",)))
                ),
                NotOf(Comparison("language", "is null")),
                Comparison("born", "<", ("2000-12-31",)),
                Comparison("edited", ">", ("2026-03-01T12:00:00+01:00",)),
                Comparison("vip", "=", ("true",)),
                Comparison("points", "<", (-0.5,)),
                NotOf(Comparison("street", "is null")),
            )
        ),
    )
    assert list(settings.exclusions.items()) == [
        ("mandators.nord.lists.newsletter.exclude.0", Pick("marketing_list", "VIP")),
        (
            "mandators.nord.lists.newsletter.exclude.1",
            Pick("query", "SELECT id AS entity_id FROM lead WHERE city = 'Köln: Süd'", EntityType.LEAD),
        ),
        (
            "mandators.nord.lists.newsletter.exclude.2",
            Pick("filter", "=", EntityType.ACCOUNT, Comparison("=", "=", ("nord-user",))),
        ),
    ]


def test_titles_name_no_value_that_a_filter_or_query_compares_with(tmp_path: Path) -> None:
    settings = loaded(tmp_path, EVERYTHING)
    assert settings.exclusion_titles == "marketing list “VIP” or the query of leads or the filter of accounts by ="
    assert settings.pick_title.startswith("filter of contacts by born, city, company")


def test_an_adapter_learns_all_picks_and_columns_that_lists_need(tmp_path: Path) -> None:
    text = with_select("select: {report: Fans}\nexclude: [{filter: {field: city, =: x}, entity_type: lead}]\n")
    configuration = load(tmp_path, text + "        attributes: {Ort: town, Mail: email}\n")
    expected = Pick("filter", "city", EntityType.LEAD, Comparison("city", "=", ("x",)))
    assert crm_needs(configuration) == CrmNeeds(
        frozenset({Pick("report", "Fans"), expected}), frozenset({"town", "city"})
    )


def test_editors_accept_every_form(tmp_path: Path) -> None:
    text = with_select(EVERYTHING)
    load(tmp_path, text)
    document = yaml.load(text, yaml.BaseLoader)
    document["mandators"]["nord"].update(mandator_id=8100)
    section = document["mandators"]["nord"]["lists"]["newsletter"]
    section["recipient_list_id"] = 11
    section["select"]["filter"]["all"][3]["not"]["is null"] = True
    section["select"]["filter"]["all"][-1]["is null"] = False
    assert list(Draft202012Validator(configuration_schema()).iter_errors(document)) == []


FILTER = "select: {{entity_type: contact, filter: {0}}}\n"
NULL = "a comparison with NULL never holds; write `is null: true`"


@pytest.mark.parametrize(
    ("condition", "path", "sentence"),
    [
        ('{field: a, "=": NO}', "=", "YAML takes this word for true or false; put it in quotes"),
        ("{field: a, in: [x, on]}", "in.1", "YAML takes this word for true or false; put it in quotes"),
        ('{field: a, "=": 01067}', "=", "YAML takes this for another number than is written; put it in quotes"),
        ('{field: a, ">": 12:30}', ">", "YAML takes this for another number than is written; put it in quotes"),
        ('{field: a, "<": 2026-02-30}', "<", "YAML takes this for a number or a date that doesn't exist"),
        ('{field: a, "<": "2026-02-30"}', "<", "this is no date or time of ISO 8601; write it like 2026-03-01"),
        ('{field: a, ">": 1.3.26}', ">", "this is no date or time of ISO 8601; write it like 2026-03-01"),
        ('{field: a, ">": true}', ">", "true and false have no order; compare with ="),
        ('{field: a, "=": null}', "=", NULL),
        ("{field: a, in: [~]}", "in.0", NULL),
        ("{field: a, like: }", "like", NULL),
        ('{field: a, "=": " "}', "=", f"empty text is NULL in filters, and {NULL}"),
        ('{field: a, "=": .nan}', "=", "text, a number, a date or true or false is expected"),
        ('{field: a, "=": [x]}', "=", "text, a number, a date or true or false is expected"),
        ("{field: a, in: []}", "in", "an empty list matches none"),
        ("{field: a, in: x}", "in", "a list of values is expected"),
        ("{field: a, like: 5}", "like", "text is expected"),
        ("{field: a, like: 'x\\'}", "like", "a \\ at the end escapes nothing"),
        ("{field: a, is null: 1}", "is null", "true or false is expected"),
        ("{field: a, '==': x}", "==", "this key isn't known; did you mean =?"),
        ("{field: a, contains: x}", "contains", "this key isn't known; known here are all, any, not, field, =, in, "),
        ("{field: a, =: x, field: b}", "field", "the key occurs twice, first in line 13"),
        ("{field: a}", "", "exactly one operator is expected beside field"),
        ("{field: a, <: 5, '>': 1}", "", "exactly one operator is expected beside field"),
        ("{field: , =: x}", "field", "the name of a column of the CRM is expected"),
        ("{=: x}", "", "exactly one of field, all, any and not is expected"),
        ("{any: [{field: a, =: x}], all: [{field: a, =: x}]}", "", "exactly one of field, all, any and not"),
        ("{any: [{field: a, =: x}], =: x}", "", "= belongs beside field, in a condition of its own"),
        ("{all: []}", "all", "the list of conditions is empty"),
        ("{all: {field: a, =: x}}", "all", "a list of conditions is expected"),
        ("{not: }", "not", "a condition is expected"),
        ("[]", "", "a section with keys is expected here"),
    ],
)
def test_a_mistake_in_a_filter_is_reported_once_with_its_place_and_remedy(
    tmp_path: Path, condition: str, path: str, sentence: str
) -> None:
    for nested in (False, True):
        written = f"{{all: [{{not: {condition}}}]}}" if nested else condition
        (problem,) = problems(tmp_path, with_select(FILTER.format(written)))
        steps = ["select", "filter", *(["all.0.not"] if nested else []), *([path] if path else [])]
        assert f" mandators.nord.lists.newsletter.{'.'.join(steps)}: {sentence}" in problem
        assert problem.startswith("13:")


@pytest.mark.parametrize(
    ("exclusions", "path", "sentence"),
    [
        ("{marketing_list: VIP}", "", "a list is expected here, each entry with a dash in front"),
        ("[{}]", ".0", "exactly one of marketing_list, report, filter and query is expected"),
        (
            "[{marketing_list: a}, {report: a, query: b}]",
            ".1",
            "exactly one of marketing_list, report, filter and query",
        ),
        ("[{query: a}]", ".0", "entity_type is expected beside query: contact, lead, account"),
        ("[{marketing_list: a, entity_type: lead}]", ".0", "entity_type belongs to filter and query; leave it out"),
        ("[{query: a, entity_type: Kontakt}]", ".0.entity_type", "the value must be 'contact', 'lead' or 'account'"),
        ("[{lists: a}]", ".0.lists", "this key isn't known"),
    ],
)
def test_a_mistake_in_an_exclusion_is_reported_once_with_its_place(
    tmp_path: Path, exclusions: str, path: str, sentence: str
) -> None:
    (problem,) = problems(tmp_path, f"{MINIMAL}        exclude: {exclusions}\n")
    assert f" mandators.nord.lists.newsletter.exclude{path}: {sentence}" in problem
