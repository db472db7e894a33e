"""The search for people by address: SQL leaves out no person whom Python would return."""

import unicodedata
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text

from campaign_sync.crm import address_key as address_key_module
from campaign_sync.crm.address_key import address_key, people_by_address
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.crm.sql.feedback_plan import bounces_on_record, streamed
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.small_crm import NOON

GOOD = (
    "kim.sis@example.org",
    "o'neil@example.org",
    "jörg@büro.example.com",
    "straße@example.com",
    "i@ii.de",
)
BLANKS = [
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\v",
    "\x1c",
    "\x1f",
    "\x85",
    "\u00a0",
    "\u2003",
    "\u200b",
    "\ufeff",
    "\u3000",
]
LETTERS = {"k": "kK\u212a", "s": "sSſ", "i": "iIİı", ".": ".。", "ö": "öÖ", "ß": "ßẞ", "'": "'’", "@": "@＠"}

blanks = st.sampled_from(BLANKS)
letters = partial(st.text, st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    address = draw(st.sampled_from(GOOD))
    spelled = "".join(draw(st.sampled_from(LETTERS.get(letter, letter + letter.upper()))) for letter in address)
    form = draw(st.sampled_from([None, "NFD", "NFC"]))
    inner = draw(st.sampled_from(["", "\u00ad", "\u200b", " "]))
    at = draw(st.integers(0, len(spelled)))
    spelled = spelled[:at] + inner + spelled[at:]
    normalized = spelled if form is None else unicodedata.normalize(form, spelled)  # type: ignore[arg-type]
    return draw(blanks) + normalized + draw(blanks)


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.long)])
def crm_url(request: pytest.FixtureRequest) -> str:
    names = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "mariadb": "mariadb_url"}
    url: str = request.getfixturevalue(names[request.param])
    schema.create_crm(url)
    return url


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raws=st.lists(st.one_of(spellings(), letters(max_size=12), st.sampled_from(GOOD)), min_size=20, max_size=60),
    asked=st.sets(st.integers(0, 19)),
)
def test_everybody_is_found_whom_reading_all_would_find(crm_url: str, raws: list[str], asked: set[int]) -> None:
    keys = {key for raw in (*GOOD, *(raws[position] for position in asked)) if (key := address_key(raw)) is not None}
    expected: defaultdict[str, set[Entity]] = defaultdict(set)
    for number, raw in enumerate(raws):
        key = address_key(raw)
        if key in keys:
            expected[key].add(Entity(EntityType.CONTACT, str(number)))
    engine = crm_engine(crm_url)
    addresses = sorted({raw for raw in raws if raw})
    with engine.begin() as connection:
        connection.execute(delete(schema.contact))
        connection.execute(delete(schema.address_state))
        connection.execute(
            insert(schema.contact), [{"id": str(number), "email": raw} for number, raw in enumerate(raws)]
        )
        people = people_by_address(partial(streamed, connection), keys, engine.dialect.name)
        assert {key: set(entities) for key, entities in people.items()} == expected
        assert all(len(set(entities)) == len(entities) for entities in people.values())
        if engine.dialect.name == "sqlite":  # where addresses that differ in blanks alone are two
            connection.execute(
                insert(schema.address_state),
                [{"address": address, "bounce_kind": "hard", "bounced_at": NOON} for address in addresses],
            )
            assert set(bounces_on_record(connection, keys)) == {address_key(raw) for raw in addresses} & keys


def test_for_many_addresses_all_are_read(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_key_module, "KEYS_PER_QUERY", 1)
    schema.create_crm(sqlite_url)
    with crm_engine(sqlite_url).begin() as connection:
        connection.execute(insert(schema.lead), [{"id": "1", "email": "Anna@example.org "}, {"id": "2", "email": "x"}])
        people = people_by_address(partial(streamed, connection), ["anna@example.org", "ben@example.org"], "sqlite")
    assert people == {"anna@example.org": [Entity(EntityType.LEAD, "1")]}


def test_the_indexes_that_crm_init_creates_are_used(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    schema.create_crm(url)
    plans: list[str] = []
    with crm_engine(url).begin() as connection:

        def explained(query: object) -> list[object]:
            compiled = query.compile(connection, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
            plans.extend(row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}")))
            return []

        people_by_address(explained, ["anna@example.org"], "sqlite")  # type: ignore[arg-type]
    assert ["USING INDEX" in plan for plan in plans] == [True] * 6
