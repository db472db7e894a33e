"""The CRM contract as tables. A real CRM may have views of these names instead; see `docs/crm.md`."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, DateTime, Dialect, ForeignKey, Index, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.types import TypeDecorator, TypeEngine

from campaign_sync.crm.sql.address_search import is_unusual, plain_key
from campaign_sync.crm.sql.engine import MYSQL, crm_engine, crm_errors
from campaign_sync.domain.entity import EntityType


class UtcTime(TypeDecorator[datetime]):
    """A time with a zone in Python, in UTC in the database; a stored time without a zone counts as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Return the type of a column; in MariaDB and MySQL one that keeps fractions of a second."""
        return DATETIME(fsp=6) if dialect.name in MYSQL else super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC; raise ValueError if it has no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time for the CRM needs a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_MYSQL_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in MYSQL
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}
"""Tables in MariaDB and MySQL: ids and addresses that differ in case or accents are different ones."""

_UNIQUE_NAME = Text().with_variant(String(255), *MYSQL)
"""MySQL has no unique TEXT."""

metadata = MetaData()


def _entity_table(entity_type: EntityType) -> Table:
    return Table(
        entity_type.value,
        metadata,
        Column("id", String(64), primary_key=True),
        Column("email", Text),
        Column("first_name", Text),
        Column("last_name", Text),
        Column("salutation", Text),
        Column("company", Text),
        Column("language", String(16)),
        Column("country", String(2)),
        Column("postal_code", String(16)),
        Column("city", Text),
        **_MYSQL_OPTIONS,
    )


contact = _entity_table(EntityType.CONTACT)
lead = _entity_table(EntityType.LEAD)
account = _entity_table(EntityType.ACCOUNT)

ENTITY_TABLES = {EntityType.CONTACT: contact, EntityType.LEAD: lead, EntityType.ACCOUNT: account}

opt_in = Table(
    "opt_in",
    metadata,
    Column("opt_in_id", String(64), primary_key=True),
    Column("mandator", String(64), nullable=False, index=True),
    Column("description", Text, nullable=False),
    Column("media_type", String(32), nullable=False),
    **_MYSQL_OPTIONS,
)

consent_event = Table(
    "consent_event",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("entity_type", String(16), nullable=False),
    Column("entity_id", String(64), nullable=False),
    Column("opt_in_id", String(64), ForeignKey("opt_in.opt_in_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("occurred_at", UtcTime, nullable=False),
    Column("source", Text),
    Column("evidence", Text),
    Column("text_version", Text),
    Index("consent_event_of_opt_in", "opt_in_id", "entity_type", "entity_id"),
    Index("consent_event_of_entity", "entity_type", "entity_id"),
    **_MYSQL_OPTIONS,
)

address_state = Table(
    "address_state",
    metadata,
    Column("address", String(254), primary_key=True),
    Column("bounce_kind", String(8), nullable=False),
    Column("bounced_at", UtcTime, nullable=False),
    Column("mandator", String(64)),
    Column("source", Text),
    **_MYSQL_OPTIONS,
)


def _index_addresses(column: Column[Any]) -> None:
    """Add indexes by which addresses are searched in whatever spelling; MariaDB and MySQL have none of this kind."""
    for dialect in ("sqlite", "postgresql"):
        name, unusual = column.table.name, is_unusual(column, dialect)
        # PostgreSQL's other indexes refuse long texts, which may be in such a column by mistake.
        Index(f"{name}_address", plain_key(column, dialect), postgresql_using="hash").ddl_if(dialect=dialect)
        keys = column.table.primary_key.columns
        Index(f"{name}_unusual", *keys, sqlite_where=unusual, postgresql_where=unusual).ddl_if(dialect=dialect)


for _column in (contact.c.email, lead.c.email, account.c.email, address_state.c.address):
    _index_addresses(_column)

marketing_list = Table(
    "marketing_list",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", _UNIQUE_NAME, nullable=False, unique=True),
    Column("entity_type", String(16)),
    Column("kind", String(8), nullable=False),
    Column("query", Text),
    **_MYSQL_OPTIONS,
)

marketing_list_member = Table(
    "marketing_list_member",
    metadata,
    Column("marketing_list_id", String(64), ForeignKey("marketing_list.id"), primary_key=True),
    Column("entity_type", String(16), primary_key=True),
    Column("entity_id", String(64), primary_key=True),
    **_MYSQL_OPTIONS,
)

report = Table(
    "report",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", _UNIQUE_NAME, nullable=False, unique=True),
    Column("entity_type", String(16), nullable=False),
    Column("view_name", Text, nullable=False),
    **_MYSQL_OPTIONS,
)


response_metadata = MetaData()
"""Optional tables that take responses."""

campaign = Table(
    "campaign",
    response_metadata,
    Column("mailing_id", String(64), primary_key=True),
    **_MYSQL_OPTIONS,
)

response = Table(
    "response",
    response_metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("mailing_id", String(64), nullable=False, index=True),
    Column("entity_type", String(16), nullable=False),
    Column("entity_id", String(64), nullable=False),
    Column("occurred_at", UtcTime, nullable=False),
    Column("detail", Text),
    Index("response_of_entity", "entity_type", "entity_id"),
    **_MYSQL_OPTIONS,
)

export_metadata = MetaData()
"""The optional table that shows that the CRM has finished its nightly export."""

export_log = Table(
    "export_log",
    export_metadata,
    Column("name", String(64), primary_key=True),
    Column("finished_at", UtcTime, primary_key=True),
    **_MYSQL_OPTIONS,
)

OPTIONAL_COLUMNS = (consent_event.c.text_version,)
"""Columns that a CRM may leave out of the other tables."""


def required_columns(table: Table) -> list[str]:
    """Return the required columns of a table; for people key and address, as `attributes` decide on the others."""
    if table in ENTITY_TABLES.values():
        return ["id", "email"]
    optional = [column.name for column in OPTIONAL_COLUMNS if column.table is table]
    return [column.name for column in table.columns if column.name not in optional]


def create_crm(url: str, *, responses: bool = False, exports: bool = False) -> None:
    """Create the contract's tables where they are missing. Existing ones stay as they are.

    Args:
        url: a SQLAlchemy URL.
        responses: whether to create the optional tables for responses as well.
        exports: whether to create the optional table of finished exports as well.

    Raises:
        CrmError: the database can't be reached or refuses.
    """
    engine = crm_engine(url, create=True)
    with crm_errors(engine, "creating the contract's tables"), engine.begin() as connection:
        metadata.create_all(connection)
        if responses:
            response_metadata.create_all(connection)
        if exports:
            export_metadata.create_all(connection)
