"""What is wrong with an environment of Dynamics 365, or with what the configuration says about it."""

import logging
from collections.abc import Callable, Iterator

from campaign_sync.crm.dataverse.consents import (
    CONSENT_COLUMNS,
    CONSENTS,
    NO_MAIL,
    Subjects,
    bounce_columns,
    consent_columns,
)
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.history import HistoryReader
from campaign_sync.crm.dataverse.needed_rights import NeededRight, columns_to_write, rights_to_write
from campaign_sync.crm.dataverse.picks import PickFinder
from campaign_sync.crm.dataverse.user_rights import missing_rights, secured_columns
from campaign_sync.crm.port import CrmNeeds, CrmSetupError

_log = logging.getLogger(__name__)

_SIMILAR_AT_MOST = 5


def flaws(environment: Environment, needs: CrmNeeds) -> list[str]:
    """Return everything that is missing or can't be read. Whether lists and views can be read shows when they are.

    Raises:
        CrmError: Dynamics 365 can't be reached, or the login is refused.
    """
    user_id = environment.api.get("/WhoAmI", "WhoAmI")["UserId"]
    finder = PickFinder(environment)
    problems = list(_attempts(environment))
    _warn_of_unknown_columns(environment, needs)
    to_read = [NeededRight(table, "Read") for table in _tables(environment, needs)]
    problems += missing_rights(environment, user_id, [*to_read, *rights_to_write(environment)])
    columns = {"CanRead": _columns_read(environment, finder, needs), **columns_to_write(environment)}
    return problems + list(secured_columns(environment, user_id, columns))


def _attempts(environment: Environment) -> Iterator[str]:
    """Yield what the checks of tables, columns and opt-ins say."""
    checks: list[Callable[[], object]] = []
    for table, columns in _named_columns(environment).items():
        checks += [lambda table=table, columns=columns: _require(environment, table, columns)]  # type: ignore[misc]
    checks += [lambda: _require_types(environment), lambda: _require_opt_ins(environment)]
    for attempt in checks:
        try:
            attempt()
        except CrmSetupError as error:
            yield str(error)


def _warn_of_unknown_columns(environment: Environment, needs: CrmNeeds) -> None:
    """Log the columns of lists that no table has. They stop only the lists that name them."""
    tables = {kind: environment.metadata.find(kind.value) for kind in environment.people}
    known = {column for table in tables.values() if table for column in table.columns}
    mapped = {name for columns in environment.people.values() for name in columns}
    for name in sorted(needs.columns - known - mapped):
        similar = ", ".join(sorted(column for column in known if name in column)[:_SIMILAR_AT_MOST])
        _log.warning(
            "lists name the column %s, which is in none of %s; correct it in their attributes and filters%s, or give "
            "it a column in crm.%s",
            name,
            ", ".join(kind.value for kind in tables),
            f" (there are {similar})" if similar else "",
            next(iter(tables)).value,
        )


def _named_columns(environment: Environment) -> dict[str, list[str]]:
    """Return the columns that the configuration names, by table."""
    settings = environment.settings
    columns = {entity_type.value: [*mapping.values(), *NO_MAIL] for entity_type, mapping in environment.people.items()}
    for entity_type, bounce in settings.bounce.items():
        columns[entity_type.value] += bounce_columns(bounce)
    for opt_in in settings.opt_ins.values():
        for entity_type, consent in opt_in.field.items():
            columns[entity_type.value] += consent_columns(consent)
    if settings.consents:
        columns[settings.consents.table] = HistoryReader(environment, settings.consents).columns
    if any(opt_in.purpose for opt_in in settings.opt_ins.values()):
        columns[CONSENTS] = list(CONSENT_COLUMNS)
    return columns


def _tables(environment: Environment, needs: CrmNeeds) -> list[str]:
    """Return the tables that are read."""
    kinds = {pick.kind for pick in needs.picks}
    lists = ["list", "listmember"] if "marketing_list" in kinds else []
    views = ["savedquery", "userquery"] if "report" in kinds else []
    purposes = ["msdynmkt_purpose", "msdynmkt_topic"] if CONSENTS in _named_columns(environment) else []
    return [*_named_columns(environment), *purposes, *lists, *views]


def _require(environment: Environment, table: str, columns: list[str]) -> None:
    """Raise CrmSetupError unless a table has the columns and can be read."""
    history = environment.settings.consents
    if history and table == history.table and environment.metadata.find(table) is None:
        candidates = ", ".join(environment.metadata.consent_candidates()) or "none at all"
        raise CrmSetupError(
            f"there is no table {table} (crm.consents.table); tables that may hold consents: {candidates}"
        )
    known = environment.require(table, columns)
    first_page = environment.api.fetch(known.entity_set, environment.query(known, columns).page(1, 1, None))
    if not first_page.ok:
        raise CrmSetupError(f"the table {table} can't be read (status {first_page.status})")


def _require_types(environment: Environment) -> None:
    """Raise CrmSetupError if a column has a type that can't hold what the configuration says."""
    settings, problems = environment.settings, []
    times = [(settings.consents.table, settings.consents.at)] if settings.consents else []
    for opt_in in settings.opt_ins.values():
        for entity_type, consent in opt_in.field.items():
            problems += _type_problem(environment, entity_type.value, consent.granted, ("Boolean",), "Yes/No")
            times += [(entity_type.value, consent.at)] if consent.at else []
    for entity_type, bounce in settings.bounce.items():
        problems += _type_problem(environment, entity_type.value, bounce.state, ("Boolean", "String"), "Yes/No or text")
        times += [(entity_type.value, bounce.at)] if bounce.at else []
    for table, column in dict.fromkeys(times):
        known = environment.metadata.find(table)
        if known is None or column not in known.columns:
            continue
        if known.columns[column] != "DateTime" or not environment.metadata.has_moments(table, column):
            problems.append(f"{table}.{column} must be a column with date and time of the behavior User local")
    if problems:
        raise CrmSetupError("; ".join(dict.fromkeys(problems)))


def _type_problem(environment: Environment, table: str, column: str, types: tuple[str, ...], title: str) -> list[str]:
    known = environment.metadata.find(table)
    if known is None or known.columns.get(column) in (None, *types):
        return []
    return [f"{table}.{column} must be a column of the type {title}"]


def _require_opt_ins(environment: Environment) -> None:
    """Raise CrmSetupError unless all purposes and topics exist."""
    subjects = Subjects(environment)
    for opt_in in environment.settings.opt_ins.values():
        if opt_in.purpose:
            subjects.of(opt_in)


def _columns_read(environment: Environment, finder: PickFinder, needs: CrmNeeds) -> Iterator[tuple[str, str]]:
    """Yield the tables and columns that are read, or compared by a selection."""
    for table, columns in _named_columns(environment).items():
        yield from ((table, column) for column in columns)
    for entity_type in environment.people:
        yield from ((entity_type.value, column) for column in needs.columns)
    for pick in needs.picks:
        if pick.kind != "filter":
            try:
                yield from finder.find(pick).query.compared()
            except CrmSetupError:
                continue  # said when it is read
