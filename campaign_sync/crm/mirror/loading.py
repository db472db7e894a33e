"""The loading of a source's rows into tables of a copy, which fails unless all of them came."""

import gc
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.mirror.stored_values import Stored, stored_texts, stored_times
from campaign_sync.crm.port import CrmError
from campaign_sync.domain.progress import Progress, report
from campaign_sync.sqlite import remedy

Row = Sequence[Stored]


def create_table(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
    """Create a table whose columns take text.

    Raises:
        CrmError: two columns have the same name, case aside.
    """
    if len({column.casefold() for column in columns}) < len(columns):
        raise CrmError(f"{table} has two columns of the same name, case aside; rename one in the CRM")
    connection.execute(f"CREATE TABLE {quoted(table)} ({', '.join(f'{quoted(name)} TEXT' for name in columns)})")


def insert_rows(connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert rows. Bytes become text that isn't UTF-8, which readers mark."""
    names, values = ", ".join(map(quoted, columns)), ", ".join(["CAST(? AS TEXT)"] * len(columns))
    connection.executemany(f"INSERT INTO {quoted(table)} ({names}) VALUES ({values})", rows)  # noqa: S608


def load_table(
    connection: sqlite3.Connection,
    table: str,
    rows: SourceRows,
    title: str,
    on_chunk: Callable[[Sequence[Sequence[Stored]]], None] = lambda _: None,
) -> int:
    """Create a table of all rows and return their number.

    Args:
        connection: to the copy.
        table: the name of the new table.
        rows: what the source yields.
        title: how messages call the rows.
        on_chunk: is called with the columns of each chunk.

    Raises:
        CrmError: not all rows came.
    """
    create_table(connection, table, rows.columns)
    count = 0
    for columns in complete_columns(rows, title):
        insert_rows(connection, table, rows.columns, zip(*columns, strict=True))
        on_chunk(columns)
        count += len(columns[0])
    return count


def complete_columns(rows: SourceRows, title: str, times: Collection[str] = ()) -> Iterator[Sequence[Sequence[Stored]]]:
    """Yield the columns of each chunk of rows as they are stored, and raise an error unless all rows came.

    Args:
        rows: what the source yields.
        title: how messages call the rows.
        times: the columns of times.

    Raises:
        CrmError: the source counts more or fewer rows, or a row has too many or too few values.
    """
    done = 0
    report(Progress("", "CRM", f"read {title}", done, None))
    for chunk in rows.chunks:
        if not chunk:
            continue
        yield _columns(chunk, rows.columns, title, times)
        done += len(chunk)
        report(Progress("", "CRM", f"read {title}", done, None))
    expected = rows.expected()
    if done != expected:
        raise CrmError(f"{done} of {expected} rows of {title} came from the CRM; nothing was changed; run again")
    report(Progress("", "CRM", f"read {title}", done, done))


def _columns(
    chunk: Sequence[Sequence[object]], names: Sequence[str], title: str, times: Collection[str]
) -> Sequence[Sequence[Stored]]:
    if set(map(len, chunk)) != {len(names)}:
        raise CrmError(f"{title}: a row doesn't have {len(names)} values, one for each column; nothing was changed")
    return [
        (stored_times if name in times else stored_texts)(values, f"{title}.{name}")
        for name, values in zip(names, zip(*chunk, strict=True), strict=True)
    ]


def require_columns(rows: SourceRows, first: Sequence[str], title: str) -> None:
    """Raise CrmError unless these are the first columns."""
    if tuple(rows.columns[: len(first)]) != tuple(first):
        raise CrmError(f"{title} has the columns {', '.join(rows.columns)}, and must begin with {', '.join(first)}")


def require_unique_ids(connection: sqlite3.Connection, table: str) -> None:
    """Raise CrmError if rows have no id, or ids come twice."""
    name = quoted(table)
    (missing,) = connection.execute(f"SELECT count(*) FROM {name} WHERE id IS NULL OR id = ''").fetchone()  # noqa: S608
    groups = f"SELECT 1 FROM {name} GROUP BY id HAVING count(*) > 1"  # noqa: S608
    (twice,) = connection.execute(f"SELECT count(*) FROM ({groups})").fetchone()  # noqa: S608
    flaws = chain(
        [f"{missing} rows have no id"] if missing else [],
        [f"{twice} ids come more than once"] if twice else [],
    )
    if problem := " and ".join(flaws):
        raise CrmError(f"{table}.id: {problem}; nothing was changed; every row needs an id of its own in the CRM")


def quoted(name: str) -> str:
    """Return a name as SQLite takes it, whatever characters it has."""
    return '"' + name.replace("\x00", "").replace('"', '""') + '"'


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Don't search for reference cycles while millions of rows pass through, none of which is in any.

    Each search visits all objects of the process, and took a quarter of the time. What isn't in a cycle is freed as
    always. Threads may overlap: the one that began first ends the pause.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def copy_errors(doing: str, kinds: tuple[type[Exception], ...] = (sqlite3.Error, OSError)) -> Iterator[None]:
    """Turn errors of the copy's files into CrmErrors, without personal data.

    Args:
        doing: what failed, for messages.
        kinds: the errors; where a source is read as well, only those of SQLite are the copy's.
    """
    try:
        yield
    except kinds as error:
        helps = _remedy_of_damage(error) or remedy(error) or getattr(error, "strerror", None) or type(error).__name__
        raise CrmError(f"{doing} failed in the local copy of the CRM (storage.crm_copies): {helps}") from None


def _remedy_of_damage(error: BaseException) -> str | None:
    """Return what helps if a file is damaged: unlike others, a copy has no backup and needs none."""
    is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return "a file is damaged; remove it, and it is made again from the CRM" if is_damaged else None
