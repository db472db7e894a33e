"""Upgrades of the state database from every earlier revision, on request only."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    NullPool,
    Numeric,
    create_engine,
    select,
    text,
)

from campaign_sync.storage.database import examine_database, open_database, probe_database, reading, upgrade_database
from campaign_sync.storage.errors import RevisionError, StateError
from campaign_sync.storage.locks import ListLockedError, LockScope
from campaign_sync.storage.revisions import VERSION_TABLE, revisions
from campaign_sync.storage.state import State
from campaign_sync.storage.tables import metadata
from campaign_sync_tests.time_travel import make_tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANNA, BEN = "anna@example.org", "ben@example.org"
LONG_AGO = datetime(2026, 1, 15, tzinfo=UTC)
FAR_AHEAD = datetime(2126, 1, 1, tzinfo=UTC)
EARLIER, NEWEST = revisions()[:-1], revisions()[-1]
PLAUSIBLE = {
    "mandator": "nord",
    "list": "newsletter",
    "kind": "bounces",
    "list_kind.kind": "regular",
    "reader": "getOutBounces",
    "state": "proven",
    "snapshot_id": "1-id",
    "entity_type": "contact",
    "bounce_kind": "hard",
    "entity_types": '{"contact": 1}',
    "run_alive.owner": "another-host 1 boot birth",
}
"""Values of text columns that a migration or a reader of the table interprets."""

Rows = dict[str, list[dict[str, Any]]]


def tables_of(url: str) -> MetaData:
    tables = MetaData()
    engine = create_engine(url)
    tables.reflect(engine, only=lambda name, _: name != VERSION_TABLE)
    engine.dispose()
    return tables


def value_for(column: "Column[Any]", number: int) -> object:
    """Return a valid value of a column, different for each number where it is part of the key."""
    if number == 2 and column.nullable:
        return None
    match column.type:
        case Boolean():
            return True
        case Integer() | Numeric() | Float():
            return number
        case Date():
            return NOON.date()
        case DateTime():
            return LONG_AGO if column.name == "expires_at" else NOON
        case LargeBinary():
            return bytes(32)
        case kind:
            known = PLAUSIBLE.get(f"{column.table.name}.{column.name}", PLAUSIBLE.get(column.name))
            distinct = column.primary_key and column is list(column.table.primary_key.columns)[-1]
            return (
                known if known and not distinct else f"{number}-{known or column.name}"[: getattr(kind, "length", None)]
            )


def fill(url: str) -> Rows:
    """Add two rows to every table, the second with null where that is allowed. Return all rows."""
    tables, engine = tables_of(url), create_engine(url)
    with engine.begin() as connection:
        for table in tables.sorted_tables:
            for number in (1, 2):
                connection.execute(table.insert().values({c.name: value_for(c, number) for c in table.columns}))
    engine.dispose()
    return rows(url)


def rows(url: str) -> Rows:
    tables, engine = tables_of(url), create_engine(url)
    with engine.connect() as connection:
        held = {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in tables.sorted_tables
        }
    engine.dispose()
    return held


def at_revision(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        revision: str = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one()
    engine.dispose()
    return revision


@pytest.mark.sample(8)
@pytest.mark.parametrize("revision", EARLIER)
def test_an_upgrade_from_every_earlier_revision_keeps_the_rows(database_url: str, revision: str) -> None:
    make_tables(database_url, revision)
    before = fill(database_url)
    assert all(len(held) == 2 for held in before.values())

    assert upgrade_database(database_url) == (revision, NEWEST)

    after = rows(database_url)
    for table in before.keys() & after.keys():
        surviving = before[table][0].keys() & after[table][0].keys()
        assert surviving
        assert [{name: row[name] for name in surviving} for row in after[table]] == [
            {name: row[name] for name in surviving} for row in before[table]
        ], table
    assert examine_database(database_url) == []
    the_product_reads(database_url)


def the_product_reads(database_url: str) -> None:
    with State(database_url) as state:
        assert state.feedback_imports.first_import("nord") == NOON
        assert len(state.feedback_imports.unmatched("nord").bounces) == 2
        assert state.snapshots.latest("nord", "newsletter") is not None
        assert state.replacements.proven_snapshots("nord", "newsletter")
        assert state.replacement_history.proven("nord", "newsletter")
    engine = open_database(database_url)
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            connection.execute(select(table)).all()
    engine.dispose()


@pytest.mark.parametrize("revision", ["0002", "0013"])
def test_answers_that_earlier_versions_wrote_as_text_still_count(database_url: str, revision: str) -> None:
    make_tables(database_url, revision)
    steps = [
        ("addAll3", "done", "code 0: 998, code 2: 2"),
        ("addAll3", "done", "code 0: 998, code 2: 2"),
        ("addAll3", "done", "code 7: 1"),
        ("addAll3", "unknown", "code 1: 5"),
        ("shadow: addAll3", "done", "code 1: 5"),
        ("clear", "done", None),
        *[("addAll3", "done", "code 0: 1")] * 6_000,
    ]
    add_rows(
        database_url,
        "replace_step",
        [
            {"replace_id": "r", "number": number, "step": step, "outcome": outcome, "detail": detail, "begun_at": NOON}
            for number, (step, outcome, detail) in enumerate(steps, 1)
        ],
    )

    upgrade_database(database_url)

    with State(database_url) as state:
        assert state.report_queries.answers(["r"]) == {"r": {0: 1996 + 6_000, 2: 4, 7: 1}}


def test_locks_that_earlier_versions_took_still_hold(database_url: str) -> None:
    make_tables(database_url, "0013")
    held = {"token": "t", "owner": "another-host 1 boot birth", "acquired_at": NOON, "expires_at": FAR_AHEAD}
    ids = {11: "of-list", -12: "of-mandator"}
    add_rows(database_url, "lease", [{**held, "recipient_list_id": id_, "run_id": run} for id_, run in ids.items()])

    upgrade_database(database_url)

    with State(database_url) as state:
        assert (state.locks.holder(11), state.locks.holder(12)) == ("of-list", None)
        with pytest.raises(ListLockedError, match="of-mandator"), state.locks.acquire(12, "r", LockScope.MANDATOR):
            pass


def test_recipients_known_before_the_upgrade_are_known_afterwards(database_url: str) -> None:
    make_tables(database_url, "0013")
    add_rows(
        database_url, "unsubscribed_recipient", [("nord", ANNA, NOON, True, None), ("nord", BEN, NOON, False, None)]
    )
    add_rows(database_url, "list_unsubscribe", [("nord", 11, ANNA, NOON, True), ("nord", 11, BEN, NOON, False)])

    upgrade_database(database_url)

    with State(database_url) as state:
        assert state.unsubscribed_recipients.known("nord") == {ANNA}
        assert [person.recipient_id for person in state.unsubscribed_recipients.pending("nord")] == [BEN]
        assert state.list_unsubscribes.known("nord", 11) == {ANNA}


def test_an_incident_that_a_channel_sent_before_the_upgrade_is_not_sent_again(database_url: str) -> None:
    make_tables(database_url, "0013")
    text = {"what": "w", "remedy": "r", "page": "p"}
    incident = {"id": "i", "mandator": "nord", "subject": "newsletter", "kind": "incomplete", **text}
    add_rows(database_url, "trouble", [{**incident, "since": NOON, "noticed_at": NOON}])
    add_rows(database_url, "notice", [("i", "log", "incomplete", NOON)])

    upgrade_database(database_url)

    with State(database_url) as state:
        assert state.incidents.unsent(NOON).of("nord", "log") == []
        assert [notice.id for notice in state.incidents.unsent(NOON).of("nord", "mail")] == ["i"]


def add_rows(url: str, table: str, values: Sequence[dict[str, Any] | tuple[object, ...]]) -> None:
    """Add rows, by name or in the order of the columns, to a table as it is at the database's revision."""
    engine = create_engine(url)
    with engine.begin() as connection:
        columns = tables_of(url).tables[table].columns.keys()
        rows_by_name = [row if isinstance(row, dict) else dict(zip(columns, row, strict=True)) for row in values]
        connection.execute(tables_of(url).tables[table].insert(), rows_by_name)
    engine.dispose()


@pytest.mark.sample(6)
@pytest.mark.parametrize("revision", EARLIER)
def test_tables_of_an_earlier_revision_are_refused_and_left_as_they_are(database_url: str, revision: str) -> None:
    make_tables(database_url, revision)
    before = fill(database_url)

    for refused in (State, probe_database):
        with pytest.raises(RevisionError) as caught:
            refused(database_url)
        message = str(caught.value)
        assert f"at revision {revision}, and this version of campaign-sync works with revision {NEWEST}" in message
        assert message.endswith("back it up first, then run `campaign-sync db upgrade`")
        assert database_url.rpartition("/")[2].partition("?")[0] in message
    assert (at_revision(database_url), rows(database_url)) == (revision, before)


def test_an_upgrade_creates_missing_tables_and_changes_nothing_the_second_time(database_url: str) -> None:
    assert upgrade_database(database_url) == (None, NEWEST)
    before = fill(database_url)
    assert upgrade_database(database_url) == (NEWEST, NEWEST)
    assert rows(database_url) == before


def test_of_several_simultaneous_upgrades_one_changes_the_tables(database_url: str) -> None:
    make_tables(database_url, EARLIER[0])
    with ThreadPoolExecutor(4) as pool:
        upgrades = list(pool.map(upgrade_database, [database_url] * 4))
    assert sorted(upgrades) == [(EARLIER[0], NEWEST), *[(NEWEST, NEWEST)] * 3]


def test_an_upgrade_beside_a_run_is_refused_and_changes_nothing(database_url: str) -> None:
    make_tables(database_url, EARLIER[-1])
    add_rows(database_url, "run_alive", [("4f1c", "another-host 1 boot birth", FAR_AHEAD, 0)])
    with pytest.raises(StateError, match=r"while runs are under way \(4f1c\).*lists half full.*Wait until"):
        upgrade_database(database_url)
    assert at_revision(database_url) == EARLIER[-1]


def test_what_was_opened_before_an_upgrade_writes_nothing_after_it(database_url: str) -> None:
    with State(database_url) as state:
        for revision, problem in ((EARLIER[-1], "campaign-sync db upgrade"), ("9999", "run the newer version")):
            with create_engine(database_url).begin() as connection:
                connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
            for use in (state.view, lambda: state.heartbeats.expect(["run"]), lambda: State(database_url)):
                with pytest.raises(RevisionError, match=problem):
                    use()
    assert rows(database_url)["run_alive"] == []


def test_an_upgrade_waits_until_transactions_have_ended(postgres_url: str) -> None:
    observer = create_engine(postgres_url, poolclass=NullPool)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'")
    with State(postgres_url) as state, ThreadPoolExecutor(1) as pool:
        with reading(state._engine) as connection:
            connection.execute(select(metadata.tables["lease"]))
            upgrade = pool.submit(upgrade_database, postgres_url)
            while not upgrade.done():
                with observer.connect() as other:
                    if other.execute(waiting).scalar():
                        break
            assert not upgrade.done()
        assert upgrade.result() == (NEWEST, NEWEST)


def test_an_upgrade_refuses_a_newer_version(database_url: str) -> None:
    upgrade_database(database_url)
    with create_engine(database_url).begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(RevisionError, match="newer version"):
        upgrade_database(database_url)
    assert at_revision(database_url) == "9999"


def test_changed_tables_are_reported_column_by_column(database_url: str) -> None:
    upgrade_database(database_url)
    with create_engine(database_url).begin() as connection:
        for statement in (
            "ALTER TABLE lease ADD COLUMN remark TEXT",
            "ALTER TABLE lease DROP COLUMN owner",
            "DROP TABLE list_kind",
            "DROP INDEX ix_replace_run_id",
            "CREATE TABLE of_another_product (id INTEGER)",
        ):
            connection.exec_driver_sql(statement)
    assert examine_database(database_url) == [
        "column lease.owner is missing",
        "column lease.remark is there and shouldn't be",
        "index replace.ix_replace_run_id is missing",
        "table list_kind is missing",
    ]
