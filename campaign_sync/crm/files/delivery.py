"""The newest complete delivery: where it is, which files it has, and when it was made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from campaign_sync.config.crm_files import REQUIRED_COLUMNS, FilesSettings
from campaign_sync.crm.files.manifest import ExpectedFile, Manifest, parse_manifest, require_current
from campaign_sync.crm.port import CrmError
from campaign_sync.delivered_files.file_source import FileSource, RemoteFile

REPORT_PREFIX = "report_"


@dataclass(frozen=True)
class Delivery:
    """A complete delivery."""

    subfolder: str | None
    delivered_at: datetime
    """UTC."""
    last_file: RemoteFile
    """The manifest or trigger."""
    manifest: Manifest | None
    """None if a trigger shows that the delivery is complete."""
    listed: Mapping[str, RemoteFile]
    """All files in the folder."""

    @property
    def identity(self) -> str:
        """What is the same only for the same delivery."""
        if self.manifest:
            return self.manifest.sha256
        return repr((self.subfolder, self.last_file, sorted(self.listed.items())))

    @property
    def names(self) -> list[str]:
        """The names of the files of the delivery."""
        return sorted(self.manifest.files if self.manifest else self.listed)

    def expected(self, name: str) -> ExpectedFile | None:
        """Return what the manifest says about a file; None without a manifest."""
        return self.manifest.files[name] if self.manifest else None

    def place_of(self, name: str) -> str:
        """Return how messages name a file: with the subfolder that it is in."""
        return name if self.subfolder is None else f"{self.subfolder}/{name}"

    def folder(self, source: FileSource) -> FileSource:
        """Return the folder of the delivery in the one of the URL."""
        return source if self.subfolder is None else source.folder(self.subfolder)


def find_newest(source: FileSource, settings: FilesSettings) -> Delivery | None:
    """Return the newest complete delivery in a folder, of any age; None if none is complete.

    Raises:
        CrmError: a manifest can't be read.
        DeliveredFilesError: the folder can't be read.
    """
    deliveries = [delivery for delivery in _deliveries(source, settings) if delivery is not None]
    return max(deliveries, key=lambda delivery: (delivery.delivered_at, delivery.subfolder or ""), default=None)


def newest_delivery(source: FileSource, settings: FilesSettings) -> Delivery:
    """Return `find_newest`, or raise CrmError if no delivery is complete."""
    delivery = find_newest(source, settings)
    if delivery is None:
        what = "trigger" if settings.trigger else "manifest"
        raise CrmError(
            f"{settings.url} has no complete delivery: there is no {what} {settings.trigger or settings.complete}; "
            "find out why the CRM's export didn't finish, or whether it writes that file last"
        )
    return delivery


def _deliveries(source: FileSource, settings: FilesSettings) -> Iterable[Delivery | None]:
    if not settings.has_subfolders:
        yield _delivery(source, settings, None)
        return
    for name in source.folders():
        if settings.is_delivery_folder(name):
            yield _delivery(source.folder(name), settings, name)


def _delivery(folder: FileSource, settings: FilesSettings, subfolder: str | None) -> Delivery | None:
    """Return the delivery in a folder; None if it isn't complete."""
    last_files = folder.files(settings.last_file)
    if not last_files:
        return None
    listed = {file.name: file for file in folder.files("*")}
    if settings.trigger:
        return Delivery(subfolder, last_files[-1].modified_at, last_files[-1], None, listed)
    place = f"{subfolder}/{settings.last_file}" if subfolder else settings.last_file
    manifest = parse_manifest(folder.read(last_files[-1]), place)
    return Delivery(subfolder, manifest.delivered_at, last_files[-1], manifest, listed)


def require_usable(delivery: Delivery, settings: FilesSettings, now: datetime) -> None:
    """Raise CrmError if a delivery is too old, or lacks files. The message names all flaws of the files."""
    place = delivery.subfolder or settings.url
    require_current(delivery.delivered_at, settings.max_age, now, place)
    if problems := [*_missing_files(delivery, settings), *_unexpected_files(delivery, settings)]:
        raise CrmError(f"the delivery in {place} can't be used: {'; '.join(problems)}")


def _missing_files(delivery: Delivery, settings: FilesSettings) -> Iterable[str]:
    if delivery.manifest:
        for name in sorted(set(delivery.manifest.files) - set(delivery.listed)):
            yield f"{name} is in the manifest and not in the folder; have the CRM deliver again"
    for table in settings.tables.delivered():
        name = settings.file_of(table)
        if name not in delivery.names:
            yield (
                f"there is no {name}, as crm.tables.{table} says; have the CRM deliver it with its header line alone "
                "if it has no rows, or remove the table"
            )


def _unexpected_files(delivery: Delivery, settings: FilesSettings) -> Iterable[str]:
    delivered = settings.tables.delivered()
    for table in REQUIRED_COLUMNS:
        if table not in delivered and settings.file_of(table) in delivery.names:
            yield f"it has {settings.file_of(table)}, which would be ignored; add {table}: {{}} to crm.tables"
    if delivery.manifest is None:
        last = delivery.last_file
        for name in table_files(delivery, settings):
            if delivery.listed[name].modified_at > last.modified_at:
                yield f"{name} is newer than {last.name}: the next delivery is being written; wait for it"


def table_files(delivery: Delivery, settings: FilesSettings) -> list[str]:
    """Return the names of the files with tables and reports that a delivery has."""
    tables = {settings.file_of(table) for table in settings.tables.delivered()}
    reports = settings.tables.report is not None
    return [
        name
        for name in delivery.names
        if name in tables or (reports and name.startswith(REPORT_PREFIX) and name.endswith(f".{settings.format.kind}"))
    ]


def require_same(delivery: Delivery, source: FileSource, settings: FilesSettings) -> None:
    """Raise CrmError if a delivery isn't as it was when it was begun to be read."""
    now = _delivery(delivery.folder(source), settings, delivery.subfolder)
    if now is None or now.identity != delivery.identity:
        raise CrmError(
            "the delivery was replaced while it was read; the next attempt reads the new one. Have the CRM deliver "
            'into a new subfolder each time (complete: "*/manifest.json") if this happens again'
        )
