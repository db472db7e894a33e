"""What a row names is found in the CRM in whatever spelling, and never guessed."""

import pytest

from campaign_sync.crm.sql import schema
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import ReportedConsent
from campaign_sync.feedback.identification import identify_consents
from campaign_sync_tests.crm.small_crm import SmallCrm


@pytest.fixture
def small(database_url: str) -> SmallCrm:
    """A CRM whose records and opt-ins partly differ in case only."""
    small = SmallCrm(database_url)
    for entity_id in ("C10", "c11", "C11", "0010"):
        small.person(entity_id, f"{entity_id}@example.org")
    small.person("C10", "lead@example.org", kind="lead")
    for opt_in_id in ("Press", "PRESS"):
        small.add(schema.opt_in, opt_in_id=opt_in_id, mandator="nord", description="", media_type="email")
    return small


def known(small: SmallCrm, opt_in_id: str | None, kind: str = "contact", entity_id: str = "C10") -> ReportedConsent:
    named = ReportedConsent(opt_in_id, Entity.from_parts(kind, entity_id))
    with small.crm.snapshot() as snapshot:
        return identify_consents({named}, "nord", snapshot)[named]


@pytest.mark.parametrize(
    ("text", "opt_in_id"),
    [("news", "news"), (" NEWS\u00a0", "news"), ("Press", "Press"), ("press", None), ("press ", None), ("gone", None),
     ("", None), (None, None)],
)  # fmt: skip
def test_an_opt_in_is_known_in_any_case_unless_it_could_be_two(
    small: SmallCrm, text: str | None, opt_in_id: str | None
) -> None:
    assert known(small, text).opt_in_id == opt_in_id


def test_an_opt_in_of_another_mandator_is_not_known(small: SmallCrm) -> None:
    small.execute("DELETE FROM opt_in WHERE opt_in_id IN ('Press', 'PRESS')")
    assert known(small, "press").opt_in_id is None


@pytest.mark.parametrize(
    ("kind", "text", "record_id"),
    [("contact", "C10", "C10"), (" LEAD ", "C10 ", "C10"), ("lead", "c10", None), ("contact", "c11", "c11"),
     ("contact", "C11", "C11"),
     ("contact", "10", None), ("contact", "0010", "0010"), ("account", "C10", None), ("contact", "'--", None)],
)  # fmt: skip
def test_a_record_is_known_by_exactly_its_id(small: SmallCrm, kind: str, text: str, record_id: str | None) -> None:
    entity = known(small, "news", kind, text).entity
    assert entity == (Entity.from_parts(kind, record_id) if record_id else None)


def test_an_id_that_is_no_number_is_not_known_where_the_crms_ids_are_numbers(small: SmallCrm) -> None:
    small.execute("DROP TABLE account")
    small.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, email TEXT)")
    small.execute("INSERT INTO account VALUES (17, 'a@example.org')")
    assert known(small, "news", "account", "C17").entity is None
    assert known(small, "news", "account", "17").entity == Entity(EntityType.ACCOUNT, "17")
