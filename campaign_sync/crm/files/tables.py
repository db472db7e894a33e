"""The columns of the contract in delivered tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from campaign_sync.config.crm import PEOPLE
from campaign_sync.config.crm_files import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, DeliveredTable, FilesSettings
from campaign_sync.crm.files.csv_table import CsvTable
from campaign_sync.crm.files.local_copy import LocalFile
from campaign_sync.crm.files.parquet_table import ParquetTable
from campaign_sync.crm.files.table_file import Row, TableFile
from campaign_sync.crm.mirror.source import SourceRows
from campaign_sync.crm.port import CrmError

_KEYS = frozenset(
    {"id", "entity_type", "entity_id", "opt_in_id", "kind", "marketing_list_id", "address", "mandator"}
    | {"name", "view_name", "bounce_kind"}
)
"""Columns whose text must be valid: what isn't would be a person, consent or list that nothing matches."""


def open_table(file: LocalFile, settings: FilesSettings) -> TableFile:
    """Return a delivered table.

    Raises:
        CrmError: it isn't of the declared format, or has two columns of the same name.
    """
    table: TableFile = (
        ParquetTable(file.path, file.name)
        if settings.format.kind == "parquet"
        else CsvTable(file.path, file.name, settings.format)
    )
    named = [column for column in table.columns if column]
    if len(set(named)) < len(named):
        raise CrmError(f"{file.name} has two columns of the same name; rename one in the export")
    return table


@dataclass
class CompleteRows:
    """All rows of a delivered table, in chunks; raises CrmError unless they are as many as the manifest says."""

    file: LocalFile
    table: TableFile
    keys: Sequence[int]
    count: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Sequence[Row]]:
        for chunk in self.table.chunks(self.keys):
            self.count += len(chunk)
            yield chunk
        if self.file.rows is not None and self.count != self.file.rows:
            raise CrmError(
                f"{self.file.name} has {self.count} rows, and {self.file.rows} by the manifest (which doesn't count "
                "the header line); correct the export, and have the CRM deliver again"
            )


def contract_rows(file: LocalFile, name: str, settings: FilesSettings, columns: Sequence[str]) -> SourceRows:
    """Return the rows of a contract table with the given columns; optional ones that the file lacks are None.

    Raises:
        CrmError: the file isn't of the declared format, or lacks required columns.
    """
    table = open_table(file, settings)
    positions = _positions(table, settings.tables.delivered()[name], name, file.name)
    return _rows(file, table, {column: positions.get(column) for column in columns})


def people_rows(file: LocalFile, name: str, settings: FilesSettings) -> SourceRows:
    """Return the rows of a table of people with all columns: the contract's, then the file's own.

    Raises:
        CrmError: the file isn't of the declared format, or lacks `id` or `email`.
    """
    table = open_table(file, settings)
    mapping = settings.tables.delivered()[name]
    positions = _positions(table, mapping, name, file.name)
    mapped = set(mapping.columns.values()) - set(mapping.columns)
    own = {column: place for place, column in enumerate(table.columns) if column and column not in mapped}
    return _rows(file, table, {**positions, **{column: own[column] for column in own if column not in positions}})


def report_rows(file: LocalFile, settings: FilesSettings, entity_type: str) -> SourceRows:
    """Return the members of a report, with its own columns.

    Raises:
        CrmError: the file isn't of the declared format, or has neither `entity_id` nor `id`.
    """
    table = open_table(file, settings)
    own = {column: place for place, column in enumerate(table.columns) if column}
    key = next((own[name] for name in ("entity_id", "id") if name in own), None)
    if key is None:
        raise CrmError(f"{file.name} has no column entity_id or id; correct its first line")
    others = {name: place for name, place in own.items() if name not in ("entity_type", "entity_id")}
    return _rows(file, table, {"entity_type": _Constant(entity_type), "entity_id": key, **others})


@dataclass(frozen=True)
class _Constant:
    """A value that is the same in all rows."""

    value: str


_Position = int | _Constant | None


def _positions(table: TableFile, mapping: DeliveredTable, name: str, file: str) -> dict[str, _Position]:
    """Return where the columns of a contract table are."""
    known = (*REQUIRED_COLUMNS[name], *OPTIONAL_COLUMNS[name])
    places = {column: place for place, column in enumerate(table.columns)}
    positions: dict[str, _Position] = {column: _Constant(value) for column, value in mapping.constants.items()}
    missing = [mapped for mapped in mapping.columns.values() if mapped not in places]
    wanted = [*known, *mapping.columns] if name in PEOPLE else known
    for column in wanted:
        place = places.get(mapping.columns.get(column, column))
        if place is not None and column not in positions:
            positions[column] = place
        elif column in REQUIRED_COLUMNS[name] and column not in positions and column not in mapping.columns:
            missing.append(column)
    if name == "consent_state" and not ({"entity_type", "entity_id"} <= positions.keys() or "address" in positions):
        missing.append("entity_type and entity_id, or address")
    if missing:
        raise CrmError(
            f"{file} has no column {', '.join(missing)}; its first line must have the names of its columns, separated "
            f"as crm.format says; where they differ, name them in crm.tables.{name}.columns"
        )
    return positions


def _rows(file: LocalFile, table: TableFile, positions: dict[str, _Position]) -> SourceRows:
    keys = [place for column, place in positions.items() if column in _KEYS and isinstance(place, int)]
    complete = CompleteRows(file, table, keys)
    convert = _converter(list(positions.values()))
    chunks = ([convert(row) for row in chunk] for chunk in complete)
    return SourceRows(tuple(positions), chunks, lambda: complete.count if file.rows is None else file.rows)


def _converter(positions: Sequence[_Position]) -> Callable[[Row], Row]:
    """Return the function that picks values out of a row."""
    getters = [
        (position, None) if isinstance(position, int) else (None, position.value if position else None)
        for position in positions
    ]
    return lambda row: [constant if place is None else row[place] for place, constant in getters]
