"""What a first configuration for a SQL database can name: its marketing lists and reports."""

from collections.abc import Mapping
from contextlib import closing

from campaign_sync.config.crm_sql import SqlLogin, TableMapping
from campaign_sync.crm.outline import Choice, CrmOutline
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.mapped_streams import MappedStreams
from campaign_sync.distribution import manual_page


def outline_database(login: SqlLogin) -> CrmOutline:
    """Return the choices that a database offers.

    Raises:
        CrmSetupError: it has neither the contract's tables nor those of a preset.
        CrmError: it can't be reached or read.
    """
    mapped = login.mapped_tables()
    engine = crm_engine(login.url.get_secret_value())
    with (
        crm_errors(engine, "reading what it has"),
        read_only(engine) as connection,
        closing(MappedStreams(connection)) as streams,
    ):
        try:
            lists = _names(streams, mapped, "marketing_list", "name")
            reports = _names(streams, mapped, "report", "name")
            opt_ins = _names(streams, mapped, "opt_in", "opt_in_id")
        except CrmError as error:
            known = "the preset" if login.preset else "the contract"
            raise CrmSetupError(
                f"{error}; a first configuration is written for the tables of {known}. For another schema name a "
                f"preset by --set preset=suitecrm, or map its tables: {manual_page('crm-sql.md')}"
            ) from None
    picks = [Choice({kind: name}) for kind, names in (("marketing_list", lists), ("report", reports)) for name in names]
    if "opt_in" not in mapped:
        return CrmOutline(consents=[Choice({}, "newsletter")], picks=picks, attributes="{Vorname: first_name}")
    remark = f"the table opt_in has {', '.join(opt_ins) or 'no opt-in yet'}"
    return CrmOutline(picks=picks, remarks=[remark], opt_ins_in_crm=True)


def _names(streams: MappedStreams, mapped: Mapping[str, TableMapping], table: str, column: str) -> list[str]:
    """Return the names in a table, sorted; none where the CRM has no such table."""
    mapping = mapped.get(table)
    if mapping is None:
        return []
    rows = streams.rows(streams.relation(mapping, f"the table {table}"), [column], mapping)
    return sorted({str(row[0]) for chunk in rows.chunks for row in chunk if row[0] not in (None, "")})
