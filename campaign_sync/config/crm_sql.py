"""The section `crm` for a CRM in a SQL database: its address, and how its schema maps to the contract's tables."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, ClassVar, Final, Literal, Self, get_args

import yaml
from pydantic import Field, field_validator, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import PEOPLE, CrmSettings, require_people_and_consents
from campaign_sync.config.database_url import location, read_database_url
from campaign_sync.config.field_types import DatabaseUrl, Name, Text

Preset = Literal["contract", "suitecrm"]
"""The mappings that ship."""

PRESETS: Final[tuple[str, ...]] = get_args(Preset)

CONTRACT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(PEOPLE, ("id", "email")),
    "opt_in": ("opt_in_id", "mandator", "description", "media_type"),
    "consent_event": (
        *("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"),
        *("source", "evidence", "text_version"),
    ),
    "consent_state": (
        *("entity_type", "entity_id", "address", "opt_in_id", "kind", "changed_at"),
        *("source", "evidence", "text_version"),
    ),
    "address_state": ("address", "bounce_kind", "bounced_at", "mandator", "source"),
    "marketing_list": ("id", "name", "entity_type", "kind", "query"),
    "marketing_list_member": ("marketing_list_id", "entity_type", "entity_id"),
    "report": ("name", "entity_type", "view_name"),
}
"""The columns of the contract's tables; those of people may have any others."""

_WITHDRAWAL_PARAMETERS = frozenset(
    {"event_id", "entity_type", "entity_id", "email", "opt_in_id", "mandator", "occurred_at", "source", "evidence"}
)
_BOUNCE_PARAMETERS = frozenset(
    {"event_id", "address", "bounce_kind", "occurred_at", "mandator", "source", "entity_type", "entity_id", "email"}
)


class TableMapping(ConfigModel):
    """Where the rows of a contract table are in the CRM: a table or view, or a query."""

    table: Name | None = None
    """Name of a table or view, with its schema if it isn't in the default one: crm.person."""
    query: Text | None = None
    """A SELECT in the database's own SQL."""
    columns: dict[Name, Name] = Field(default_factory=dict)
    """The CRM's column for a column of the contract, where the names differ."""
    constants: dict[Name, Name] = Field(default_factory=dict)
    """A text for a column of the contract that is the same in all rows."""

    @model_validator(mode="after")
    def _check_exactly_one(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("exactly one of table and query is expected")
        if both := sorted(self.columns.keys() & self.constants.keys()):
            raise ValueError(f"{', '.join(both)} is in columns and in constants; remove it from one of them")
        return self


class SqlTables(ConfigModel):
    """The contract's tables in the CRM's own schema. One that is left out, or `null`, doesn't exist."""

    contact: TableMapping | None = None
    """People of the type contact."""
    lead: TableMapping | None = None
    """People of the type lead."""
    account: TableMapping | None = None
    """Companies with an address."""
    opt_in: TableMapping | None = None
    """The opt-ins, where they aren't in `crm.opt_ins`."""
    consent_event: TableMapping | None = None
    """The history of consents."""
    consent_state: TableMapping | None = None
    """The current state of consents, of records or addresses."""
    address_state: TableMapping | None = None
    """The addresses that bounce."""
    marketing_list: TableMapping | None = None
    """The marketing lists."""
    marketing_list_member: TableMapping | None = None
    """The members of static marketing lists."""
    report: TableMapping | None = None
    """The reports: views by name."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for name, mapping in self.mapped().items():
            of_contract = set(CONTRACT_COLUMNS[name])
            unknown = sorted(set() if name in PEOPLE else mapping.columns.keys() - of_contract)
            unknown += sorted(mapping.constants.keys() - of_contract)
            if name == "marketing_list_member" and "marketing_list_id" in mapping.constants:
                raise ValueError(
                    "marketing_list_member can't have a constant marketing_list_id; select it in a query, with its "
                    "members: SELECT 'the list' AS marketing_list_id, …"
                )
            if unknown:
                raise ValueError(
                    f"{name} has no column {', '.join(unknown)} in the contract; it has "
                    f"{', '.join(CONTRACT_COLUMNS[name])}"
                )
        return self

    def mapped(self) -> dict[str, TableMapping]:
        """Return the tables that exist, by name, in the contract's order."""
        by_name = {name: getattr(self, name) for name in CONTRACT_COLUMNS}
        return {name: mapping for name, mapping in by_name.items() if mapping is not None}


class SqlWriteBack(ConfigModel):
    """The statements that write feedback into the CRM, in the database's own SQL with named parameters.

    Each must have no effect if it is repeated.
    """

    withdrawal: tuple[Text, ...] | None = Field(default=None, min_length=1)
    """Run for every withdrawal; they must not change a consent that was granted after :occurred_at."""
    bounce: tuple[Text, ...] | None = Field(default=None, min_length=1)
    """Run for every bounced address, or for every record with it if they name one."""

    @field_validator("withdrawal")
    @classmethod
    def _check_withdrawal(cls, statements: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return _check_parameters(statements, _WITHDRAWAL_PARAMETERS)

    @field_validator("bounce")
    @classmethod
    def _check_bounce(cls, statements: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return _check_parameters(statements, _BOUNCE_PARAMETERS)


class SqlLogin(ConfigModel):
    """Where the database is, and which tables it has."""

    url: DatabaseUrl
    """SQLAlchemy URL of the CRM's database. One with a password must be {env: NAME} or {file: PATH}."""
    preset: Preset | None = None
    """A mapping that ships: `contract` (the contract's tables with consent_state), `suitecrm`."""

    def mapped_tables(self) -> dict[str, TableMapping]:
        """Return where the contract's tables are by the preset; without one they have the contract's own names."""
        return _shipped_tables(self.preset).mapped()


class SqlSettings(SqlLogin, CrmSettings):
    """A CRM in a SQL database: PostgreSQL, SQLite, MariaDB or MySQL."""

    NOT_CONTENT: ClassVar[frozenset[str]] = CrmSettings.NOT_CONTENT | {"write_back"}

    adapter: Literal["sql"] = "sql"
    """The kind of CRM: `sql` for a SQL database."""
    tables: SqlTables = SqlTables()
    """The contract's tables in the CRM's own schema, instead of those of the preset."""
    write_back: SqlWriteBack = SqlWriteBack()
    """The statements that write feedback into the CRM, instead of those of the preset."""

    @model_validator(mode="after")
    def _check_mapping(self) -> Self:
        if not self.is_mapped:
            if not self.is_mysql:
                self._refuse_people_max_age("the contract's tables on PostgreSQL and SQLite are read where they are")
            if self.opt_ins and not self.is_mysql:
                raise ValueError("opt_ins is for a CRM whose tables are mapped; use the table opt_in, or add tables")
            if self.write_back != SqlWriteBack():
                raise ValueError("write_back is for a CRM whose tables are mapped; remove it, or add tables")
            return self
        mapped = self.mapped_tables()
        require_people_and_consents(mapped)
        if "opt_in" not in mapped and not self.opt_ins:
            raise ValueError("name the opt-ins in opt_ins, or the table that has them in tables.opt_in")
        if "marketing_list" in mapped and "marketing_list_member" not in mapped:
            raise ValueError("tables needs marketing_list_member beside marketing_list")
        missing = [kind for kind in ("withdrawal", "bounce") if not getattr(self.statements(), kind)]
        if missing:
            raise ValueError(
                f"write_back needs {' and '.join(missing)}: without statements, what people withdraw and which "
                "addresses bounce would never reach the CRM"
            )
        if sum(name in mapped for name in PEOPLE) > 1:
            _check_types(self.statements())
        return self

    @property
    def is_mapped(self) -> bool:
        """Whether a mapping is configured, by preset or tables."""
        return self.preset is not None or bool(self.tables.model_fields_set)

    @property
    def is_mysql(self) -> bool:
        """Whether the database is MariaDB or MySQL."""
        return read_database_url(self.url.get_secret_value()).get_backend_name() in ("mysql", "mariadb")

    def content(self, opt_in_id: str) -> dict[str, Any]:
        """Return what decides whom a list on an opt-in can be picked from. See `CrmSettings.content`."""
        url = read_database_url(self.url.get_secret_value())
        place = {"kind": url.get_backend_name(), "database": location(url), "options": url.query.get("options")}
        return {**super().content(opt_in_id), **place}  # `options` can name a schema

    def mapped_tables(self) -> dict[str, TableMapping]:
        """Return where the contract's tables are: the preset's, replaced by the configured ones.

        Without preset and tables they have the contract's own names.
        """
        mapped = self._preset_tables().mapped()
        for name in self.tables.model_fields_set:
            mapped.pop(name, None)
        by_name = mapped | self.tables.mapped()
        return {name: by_name[name] for name in CONTRACT_COLUMNS if name in by_name}

    def statements(self) -> SqlWriteBack:
        """Return the statements that write feedback: the preset's, replaced by the configured ones."""
        shipped = {} if self.preset is None and self.is_mapped else _preset(self.preset or "contract")
        own = self.write_back.model_dump(exclude_none=True)
        return SqlWriteBack.model_validate({**shipped.get("write_back", {}), **own})

    def _preset_tables(self) -> SqlTables:
        if self.preset is None and self.is_mapped:
            return SqlTables()
        return _shipped_tables(self.preset)


def preset_text(preset: str) -> str:
    """Return the YAML of a mapping that ships."""
    return (files("campaign_sync.config") / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")


def _shipped_tables(preset: Preset | None) -> SqlTables:
    tables = SqlTables.model_validate(_preset(preset or "contract")["tables"])
    return tables if preset else tables.model_copy(update={"consent_state": None})


def _preset(preset: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(preset_text(preset))
    return loaded


def _check_types(write_back: SqlWriteBack) -> None:
    """Raise ValueError if a statement could change the record of another type that has the same id."""
    for statement in (*(write_back.withdrawal or ()), *(write_back.bounce or ())):
        parameters = _parameters(statement)
        if "entity_id" in parameters and "entity_type" not in parameters:
            raise ValueError(
                "a statement of write_back names :entity_id without :entity_type, and people of several types are "
                "mapped: it would change another person who has the same id; add a condition like "
                ":entity_type = 'contact'"
            )


def _parameters(statement: str) -> frozenset[str]:
    from sqlalchemy import text  # here, because commands that need no database start without SQLAlchemy

    return frozenset(text(statement).compile().params)


def _check_parameters(statements: tuple[str, ...] | None, known: frozenset[str]) -> tuple[str, ...] | None:
    for statement in statements or ():
        unknown = sorted(_parameters(statement) - known)
        if unknown:
            raise ValueError(
                f"the parameter {', '.join(f':{name}' for name in unknown)} isn't known; known are "
                f"{', '.join(f':{name}' for name in sorted(known))}. A colon that begins no parameter is written \\:"
            )
    return statements
