"""Plans of PostgreSQL for tables that were just loaded, before it has counted what is in them."""

from sqlalchemy import Connection, text

_LARGE_TABLE_WITHOUT_STATISTICS = text(
    """
    SELECT 1
      FROM pg_class AS relation
      JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
     WHERE relation.relkind IN ('r', 'm')
       AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
       AND namespace.nspname NOT LIKE 'pg\\_%'
       AND has_table_privilege(relation.oid, 'SELECT')
       AND pg_relation_size(relation.oid) > 65536
       AND NOT EXISTS (
           SELECT 1 FROM pg_stats
            WHERE pg_stats.schemaname = namespace.nspname AND pg_stats.tablename = relation.relname
       )
     LIMIT 1
    """
)


def avoid_plans_for_small_tables(connection: Connection) -> None:
    """Let PostgreSQL join whole tables in this transaction if it has no statistics of a large table.

    Until ANALYZE has seen a table that was just loaded, PostgreSQL takes it for small and compares every row of one
    table with every row of another: a hundred times slower with 10,000 people, and four times as slow with twice as
    many. Nested loops remain where nothing else is possible.
    See https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-ENABLE-NESTLOOP.
    """
    if connection.dialect.name == "postgresql" and connection.execute(_LARGE_TABLE_WITHOUT_STATISTICS).first():
        connection.execute(text("SET LOCAL enable_nestloop = off"))
