"""A CRM that is copied yields the same as the same CRM read directly, whatever its tables hold."""

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from campaign_sync.crm.port import Crm, CrmError, CrmSnapshot, Pick
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.consent import ConsentWords
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.sources import ContractSource

WORDS = ConsentWords(granted=frozenset({"opt-in"}), withdrawn=frozenset({"revoked"}), ignored=frozenset({"requested"}))
FANS, GUESTS = Pick("marketing_list", "Fans"), Pick("report", "Guests")

_SCHEMA = """
    CREATE TABLE contact (id TEXT, email TEXT, city TEXT, points NUMERIC, born DATE);
    CREATE TABLE lead (id TEXT, email TEXT, city TEXT);
    CREATE TABLE account (id TEXT, email TEXT);
    CREATE TABLE opt_in (opt_in_id TEXT, mandator TEXT, description TEXT, media_type TEXT);
    CREATE TABLE consent_event (id TEXT, entity_type TEXT, entity_id TEXT, opt_in_id TEXT, kind TEXT,
        occurred_at TIMESTAMP, source TEXT, evidence TEXT);
    CREATE TABLE address_state (address TEXT, bounce_kind TEXT, bounced_at TIMESTAMP, mandator TEXT, source TEXT);
    CREATE TABLE marketing_list (id TEXT, name TEXT, entity_type TEXT, kind TEXT, query TEXT);
    CREATE TABLE marketing_list_member (marketing_list_id TEXT, entity_type TEXT, entity_id TEXT);
    CREATE TABLE report (id TEXT, name TEXT, entity_type TEXT, view_name TEXT);
    CREATE TABLE guests (entity_id TEXT, product TEXT, city TEXT);
    INSERT INTO opt_in VALUES ('news', 'nord', 'News', 'email'), ('press', 'sued', 'Press', 'E-Mail');
    INSERT INTO marketing_list VALUES ('1', 'Fans', NULL, 'static', NULL);
    INSERT INTO report VALUES ('1', 'Guests', 'Contact', 'guests');
"""

HOUR = timedelta(hours=1)
EXAMPLES = 200 if settings.get_current_profile_name() == "long" else 10
_LATIN1 = b"M\xfcller@example.org"

ids = st.sampled_from(["c1", " c1", "C1", "c2", "c2\u00a0", "c\u00e43", "c4\U0001f600", "c5\r\n"])
types = st.sampled_from(["contact", "Contact ", "lead", "account", "user", None, ""])
opt_ins = st.sampled_from(["news", " News", "NEWS\u00a0", "press", "gone", None])
emails = st.sampled_from(
    [
        *("anna@example.org", " ANNA@example.org", "jo\u0308rg@BÜRO.example.org", "jörg@xn--bro-hoa.example.org"),
        *(None, "", "no address", "o'neil\"@example.org", _LATIN1),
    ]
)
texts = st.sampled_from(["Köln", 'a "quoted"\r\nline', "", None, "\U0001f600", _LATIN1, "null\x00byte"])
kinds = st.sampled_from(
    ["granted", " Granted", "confirmed", "withdrawn", "REVOKED ", "opt-in", "requested", "maybe", None]
)
times = st.sampled_from(
    [
        *("2026-03-01 12:00:00", "2026-03-01T14:00:00+02:00", "2026-03-01 12:00:00.5", "2026-03-01", "soon", None),
        *("2062-01-01 00:00:00", "infinity", "2026-02-01 00:00:00"),
    ]
)


def people(*columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(ids, emails, *columns), max_size=6, unique_by=lambda row: row[0])


numbers = st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.none())
events = st.lists(st.tuples(types, ids, opt_ins, kinds, times, texts, texts), max_size=10)
tables = st.fixed_dictionaries(
    {
        "contact": people(texts, numbers, st.sampled_from(["1990-02-28", "1990-02-28 12:00:00", "some day", None])),
        "lead": people(texts),
        "account": people(),
        "consent_event": events.map(lambda rows: [(f" e{number}", *row) for number, row in enumerate(rows)]),
        "address_state": st.lists(
            st.tuples(emails, st.sampled_from(["hard", "Soft ", "limit", "odd", None]), times, texts, texts), max_size=3
        ),
        "marketing_list_member": st.lists(st.tuples(st.just("1"), types, ids), max_size=6),
        "guests": st.lists(st.tuples(ids, texts, texts), max_size=4),
    }
)


def fill(file: Path, rows_of: dict[str, Sequence[Sequence[Any]]]) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(_SCHEMA)
        for table, rows in rows_of.items():
            for row in rows:
                values = ", ".join("CAST(? AS TEXT)" if isinstance(value, bytes) else "?" for value in row)
                connection.execute(f"INSERT INTO {table} VALUES ({values})", row)
        connection.commit()


def frame(frames: Any) -> list[list[object]]:
    whole = pd.concat(list(frames), ignore_index=True).astype("object")
    return [[*whole.columns], *whole.where(whole.notna(), None).values.tolist()]


READS: dict[str, Callable[[CrmSnapshot], object]] = {
    "list": lambda snapshot: frame(snapshot.select(FANS, "news", [], chunk_rows=2)),
    "report": lambda snapshot: frame(snapshot.select(GUESTS, "press", ["product", "city", "points", "born"])),
    "members": lambda snapshot: sorted(map(repr, (member for chunk in snapshot.members(FANS) for member in chunk))),
    "guests": lambda snapshot: sorted(map(repr, (member for chunk in snapshot.members(GUESTS) for member in chunk))),
    "nord": lambda snapshot: sorted(map(repr, frame([snapshot.suppression("nord")]))),
    "sued": lambda snapshot: sorted(map(repr, frame([snapshot.suppression("sued")]))),
    "consenting": lambda snapshot: consenting(snapshot, "news"),
    "counts": lambda snapshot: snapshot.consent_rows("news"),
    "holders": lambda snapshot: snapshot.entities_with("Anna@example.org"),
    "history": lambda snapshot: snapshot.consents(Entity(EntityType.CONTACT, "c1")),
    "records": lambda snapshot: snapshot.records([Entity(EntityType.LEAD, "c2"), Entity(EntityType.CONTACT, "c1")]),
    "email": lambda snapshot: snapshot.email(Entity(EntityType.CONTACT, "c2")),
}


def results(crm: Crm) -> dict[str, object]:
    """Return the result of each read, or the kind of its error."""
    outcomes: dict[str, object] = {}
    for name, read in READS.items():
        try:
            with crm.snapshot() as snapshot:
                outcomes[name] = read(snapshot)
        except (CrmError, ValueError) as error:
            outcomes[name] = type(error).__name__
    return outcomes


@settings(max_examples=EXAMPLES, phases=set(Phase) - {Phase.shrink})  # each example is a CRM of its own
@given(tables)
def test_a_copied_crm_yields_the_same_as_one_that_is_read_directly(rows_of: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "crm.db")
        fill(file, rows_of)
        url = f"sqlite:///{file}"
        crm = copied(ContractSource(url), Path(folder, "copies"), frozenset({FANS, GUESTS}), max_age=HOUR, words=WORDS)
        assert results(crm) == results(SqlCrm(url, WORDS))
