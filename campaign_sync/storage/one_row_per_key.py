"""The keys that a large table has, each read through an index."""

from sqlalchemy import Subquery, Table, select, tuple_


def one_row_per_key(table: Table, *columns: str) -> Subquery:
    """Return rows of a table for a FROM clause: one for each combination of these columns.

    An index must begin with the columns. Then as many rows of it are read as there are combinations, however many rows
    have them: `GROUP BY` would read the whole index.

    Args:
        table: with a primary key `id`.
        columns: the names of the columns.
    """
    smallest, current, larger = table.alias(), table.alias(), table.alias()
    first = select(smallest.c.id).order_by(*smallest.c[*columns]).limit(1).scalar_subquery()
    ids = select(first.label("id")).cte(recursive=True)
    following = (
        select(larger.c.id)
        .where(tuple_(*larger.c[*columns]) > tuple_(*current.c[*columns]))
        .order_by(*larger.c[*columns])
        .limit(1)
        .correlate(current)
        .scalar_subquery()
    )
    ids = ids.union_all(select(following).where(current.c.id == ids.c.id))  # after the last there is none, with null
    chosen = table.alias()
    return select(*chosen.c[*columns]).where(chosen.c.id == ids.c.id).subquery()
