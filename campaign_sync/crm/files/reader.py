"""One read of a delivery."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.files.delivery import REPORT_PREFIX
from campaign_sync.crm.files.local_copy import LocalCopy
from campaign_sync.crm.files.table_file import Row
from campaign_sync.crm.files.tables import contract_rows, people_rows, report_rows
from campaign_sync.crm.mirror.source import (
    ADDRESS_STATE_COLUMNS,
    EVENT_COLUMNS,
    MEMBER_COLUMNS,
    STATE_COLUMNS,
    SourceReader,
    SourceRows,
)
from campaign_sync.crm.port import CrmError, CrmSetupError, Pick
from campaign_sync.domain.consent import OptIn, normalize_word
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text, vendor_text


class FilesReader(SourceReader):
    """Implements `SourceReader` on the files of a delivery.

    Args:
        copy: the files.
        settings: the section `crm`.
        delivered_at: when the delivery was made.
    """

    def __init__(self, copy: LocalCopy, settings: FilesSettings, delivered_at: datetime) -> None:
        self._copy = copy
        self._settings = settings
        self._tables = settings.tables.delivered()
        self.as_of = delivered_at

    def pick(self, pick: Pick) -> SourceRows:
        """Return everybody in a marketing list or report. See `SourceReader.pick`."""
        match pick.kind:
            case "marketing_list":
                return self._marketing_list(pick.name)
            case "report":
                return self._report(pick.name)
            case _:
                raise CrmSetupError(
                    f"delivered files can't answer a {pick.kind}; select a marketing list or report that the CRM "
                    "delivers, or use a filter"
                )

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return the records of a type, with all columns of the file. See `SourceReader.people`."""
        if entity_type.value not in self._tables:
            return _no_rows(("id", "email"))
        return people_rows(self._copy.file(self._file(entity_type.value)), entity_type.value, self._settings)

    def opt_ins(self) -> Sequence[OptIn]:
        """Return the opt-ins of the file. See `SourceReader.opt_ins`."""
        columns = ("opt_in_id", "mandator", "description", "media_type")
        if "opt_in" not in self._tables:
            return ()
        return [
            OptIn(*(_text(value, f"{self._file('opt_in')}: a value in row {number}") for value in row))
            for number, row in enumerate(self._all("opt_in", columns), start=1)
        ]

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consent history of all opt-ins. See `SourceReader.consent_events`."""
        return self._contract("consent_event", (*EVENT_COLUMNS, "text_version"))

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consent states of all opt-ins. See `SourceReader.consent_states`."""
        return self._contract("consent_state", (*STATE_COLUMNS, "text_version"))

    def address_states(self) -> SourceRows:
        """Return the bounces. See `SourceReader.address_states`."""
        return self._contract("address_state", ADDRESS_STATE_COLUMNS) or _no_rows(ADDRESS_STATE_COLUMNS)

    def verify(self, names: Collection[str]) -> None:
        """Raise CrmError unless these files can be read to their end, and have the columns that they must have.

        Args:
            names: files of tables and reports.
        """
        tables = {self._file(table): table for table in self._tables}
        for name in names:
            file, table = self._copy.file(name), tables.get(name)
            rows = (
                contract_rows(file, table, self._settings, ())
                if table
                else report_rows(file, self._settings, EntityType.CONTACT)
            )
            for _ in rows.chunks:
                pass

    def _marketing_list(self, name: str) -> SourceRows:
        list_id, kind = self._definition("marketing_list", ("id", "kind"), name)
        if kind is not None and normalize_word(kind) != "static":
            raise CrmError(
                f"the marketing list {name!r} isn't static, and files have no others; have the CRM deliver its members "
                "as those of a static list"
            )
        rows = self._contract("marketing_list_member", ("marketing_list_id", *MEMBER_COLUMNS))
        if rows is None:
            raise CrmSetupError("crm.tables has no marketing_list_member; add it, and have the CRM deliver it")
        return _members_of(_key(list_id), rows)

    def _report(self, name: str) -> SourceRows:
        kind, view_name = self._definition("report", ("entity_type", "view_name"), name)
        entity_type = normalize_word(kind)
        if entity_type not in list(EntityType):
            raise CrmError(
                f"entity_type of the report {name!r} ({self._file('report')}) must be contact, lead or account"
            )
        view = _key(view_name)
        if not view or "/" in view or "\\" in view:
            raise CrmError(
                f"view_name of the report {name!r} ({self._file('report')}) must be the part of the file's name "
                f"between {REPORT_PREFIX} and the last dot"
            )
        rows = report_rows(self._copy.file(self._file(f"{REPORT_PREFIX}{view}")), self._settings, entity_type)
        return replace(rows, entity_type=EntityType(entity_type))

    def _definition(self, table: str, columns: Sequence[str], name: str) -> Row:
        """Return these columns of the only marketing list or report of a name."""
        title, file = table.replace("_", " "), self._file(table)
        if table not in self._tables:
            raise CrmSetupError(f"crm.tables has no {table}, so there is no {title} {name!r}; add it")
        rows = [row for row in self._all(table, (*columns, "name")) if row[-1] is not None]
        matches = [row for row in rows if normalize_text(_key(row[-1])) == normalize_text(name)]
        if len(matches) != 1:
            known = ", ".join(sorted(repr(_key(row[-1])) for row in rows)) or "none at all"
            raise CrmError(f"the CRM has {len(matches) or 'no'} {title} {name!r} ({file}, name); it has {known}")
        return matches[0][:-1]

    def _all(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        rows = contract_rows(self._copy.file(self._file(table)), table, self._settings, columns)
        for chunk in rows.chunks:
            yield from chunk

    def _contract(self, table: str, columns: Sequence[str]) -> SourceRows | None:
        if table not in self._tables:
            return None
        return contract_rows(self._copy.file(self._file(table)), table, self._settings, columns)

    def _file(self, table: str) -> str:
        return self._settings.file_of(table)


def _members_of(list_id: str, rows: SourceRows) -> SourceRows:
    """Return the members of a list out of those of all lists."""
    count = 0

    def members() -> Iterator[Sequence[Row]]:
        nonlocal count
        for chunk in rows.chunks:
            own = [row[1:] for row in chunk if _key(row[0]) == list_id]
            count += len(own)
            yield own

    return SourceRows(MEMBER_COLUMNS, members(), lambda: count)


def _no_rows(columns: tuple[str, ...]) -> SourceRows:
    return SourceRows(columns, iter(()), lambda: 0)


def _key(value: object) -> str:
    """Return an id or name as compared: as text, without outer blanks. Keys that aren't valid text don't get here."""
    return (vendor_text(value) or "").strip()


def _text(value: object, place: str) -> str:
    text = vendor_text(value) if not isinstance(value, bytes) else None
    if text is None:
        raise CrmError(f"{place} is missing, or isn't valid text; correct the export")
    return text
