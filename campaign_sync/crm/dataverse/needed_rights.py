"""What the application user must be allowed to do with which tables and columns, by the configuration."""

from collections.abc import Iterator
from typing import NamedTuple

from campaign_sync.crm.dataverse.consents import CONSENTS, bounce_columns, consent_columns
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.history import HistoryReader
from campaign_sync.crm.dataverse.metadata import LOOKUPS
from campaign_sync.crm.dataverse.purpose_withdrawals import CHANGED_COLUMNS, NEW_COLUMNS
from campaign_sync.crm.port import CrmError, CrmSetupError


class NeededRight(NamedTuple):
    """A right on a table."""

    table: str
    action: str
    """As Dataverse calls it, such as Write or AppendTo."""


def rights_to_write(environment: Environment) -> Iterator[NeededRight]:
    """Yield the rights that the writing of withdrawals and bounces takes. One may come twice."""
    settings = environment.settings
    for entity_type in settings.bounce:
        yield NeededRight(entity_type.value, "Write")
    for opt_in in settings.opt_ins.values():
        yield from (NeededRight(entity_type.value, "Write") for entity_type in opt_in.field)
        if opt_in.purpose:
            yield from (NeededRight(CONSENTS, action) for action in ("Write", "Create", "Append"))
            yield NeededRight("msdynmkt_purpose", "AppendTo")
        if opt_in.topic:
            yield NeededRight("msdynmkt_topic", "AppendTo")
    yield from _rights_to_add_history(environment)


def _rights_to_add_history(environment: Environment) -> Iterator[NeededRight]:
    history = environment.settings.consents
    table = environment.metadata.find(history.table) if history else None
    if history is None or table is None:
        return
    yield from (NeededRight(table.name, action) for action in ("Create", "Append"))
    yield from (NeededRight(entity_type.value, "AppendTo") for entity_type in history.people())
    for column in (history.opt_in, history.kind):
        if table.columns.get(column) in LOOKUPS:
            try:
                references = environment.metadata.references(table.name, column)
            except CrmSetupError:
                continue  # said where the column is written
            yield from (NeededRight(reference.table, "AppendTo") for reference in references)


def privileges_to_write(environment: Environment) -> set[str]:
    """Return the names of the privileges that the writing takes, in small letters."""
    return {_privilege(environment, right).lower() for right in set(rights_to_write(environment))}


def _privilege(environment: Environment, right: NeededRight) -> str:
    """Return the name of a privilege; by the vendor's convention if the definition of the table doesn't show it."""
    try:
        name = environment.metadata.privileges(right.table).get(right.action)
    except CrmError:
        name = None
    return name or f"prv{right.action}{right.table}"


def columns_to_write(environment: Environment) -> dict[str, list[tuple[str, str]]]:
    """Return the tables and columns that are written, by what column security must allow. One may come twice."""
    settings = environment.settings
    updated: list[tuple[str, str]] = []
    created: list[tuple[str, str]] = []
    for entity_type, bounce in settings.bounce.items():
        updated += [(entity_type.value, column) for column in bounce_columns(bounce)]
    for opt_in in settings.opt_ins.values():
        for entity_type, consent in opt_in.field.items():
            updated += [(entity_type.value, column) for column in consent_columns(consent)]
        if opt_in.purpose:
            updated += [(CONSENTS, column) for column in CHANGED_COLUMNS]
            created += [(CONSENTS, column) for column in (*CHANGED_COLUMNS, *NEW_COLUMNS)]
    if history := settings.consents:
        created += [(history.table, column) for column in HistoryReader(environment, history).columns]
    return {"CanUpdate": updated, "CanCreate": created}
