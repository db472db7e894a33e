from sqlalchemy import text

from campaign_sync.crm.sql.engine import crm_engine, read_only
from campaign_sync.crm.sql.schema import create_crm
from campaign_sync.crm.sql.statistics import avoid_plans_for_small_tables


def nested_loops(url: str) -> str:
    with read_only(crm_engine(url)) as connection:
        avoid_plans_for_small_tables(connection)
        setting: str = connection.execute(text("SHOW enable_nestloop")).scalar_one()
        return setting


def test_a_table_that_was_just_loaded_is_not_taken_for_small(postgres_url: str) -> None:
    create_crm(postgres_url)
    assert nested_loops(postgres_url) == "on"
    with crm_engine(postgres_url).begin() as connection:
        connection.execute(text("ALTER TABLE contact SET (autovacuum_enabled = false)"))
        connection.execute(
            text("INSERT INTO contact (id, email) SELECT 'c' || n, n || '@example.org' FROM generate_series(1, 5000) n")
        )
    assert nested_loops(postgres_url) == "off"
    with crm_engine(postgres_url).begin() as connection:
        connection.execute(text("ANALYZE contact"))
    assert nested_loops(postgres_url) == "on"


def test_other_databases_are_left_alone(sqlite_url: str) -> None:
    create_crm(sqlite_url)
    with read_only(crm_engine(sqlite_url)) as connection:
        avoid_plans_for_small_tables(connection)
