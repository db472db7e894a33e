"""The section `crm` for a CRM that delivers its tables as files."""

from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import PEOPLE, CrmSettings, require_people_and_consents
from campaign_sync.config.field_types import Credential, Duration, Location, Name, Text

REQUIRED_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(PEOPLE, ("id", "email")),
    "opt_in": ("opt_in_id", "mandator", "description", "media_type"),
    "consent_event": ("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at"),
    "consent_state": ("opt_in_id", "kind"),
    "address_state": ("address", "bounce_kind", "bounced_at"),
    "marketing_list": ("id", "name"),
    "marketing_list_member": ("marketing_list_id", "entity_type", "entity_id"),
    "report": ("name", "entity_type", "view_name"),
}
"""The columns that the files of the contract's tables must have; a state also needs a record or an address."""

OPTIONAL_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(PEOPLE, ()),
    "opt_in": (),
    "consent_event": ("source", "evidence", "text_version"),
    "consent_state": ("entity_type", "entity_id", "address", "changed_at", "source", "evidence", "text_version"),
    "address_state": ("mandator", "source"),
    "marketing_list": ("kind",),
    "marketing_list_member": (),
    "report": (),
}
"""The columns that they may have. Files of people may have any others."""


def _path_pattern(value: str) -> str:
    folder, _, name = value.rpartition("/")
    if not name or "/" in folder or ".." in value or value.startswith("/"):
        raise ValueError('a name in the folder of the URL is expected, or one in its subfolders: "*/manifest.json"')
    return value


PathPattern = Annotated[Text, AfterValidator(_path_pattern)]
"""The name of a file in the folder of a URL, or in its subfolders."""


class FileFormat(ConfigModel):
    """The format of the delivered tables."""

    kind: Literal["csv", "parquet"] = "csv"
    """CSV with a header line, or Parquet."""
    delimiter: Literal[";", ",", "\t", "|"] = ","
    """The separator of the values in CSV."""
    encoding: Literal["utf-8", "utf-8-sig", "cp1252", "utf-16"] = "utf-8"
    """The encoding of CSV. A byte order mark is allowed in UTF-8, and required in UTF-16."""
    quote: Literal['"', "'"] | None = '"'
    """The character around values with delimiters or line ends in CSV; null if values are never quoted."""

    @model_validator(mode="after")
    def _check_parquet(self) -> Self:
        if self.kind == "parquet" and self.model_fields_set - {"kind"}:
            raise ValueError("delimiter, encoding and quote are for CSV; remove them")
        return self


class DeliveredTable(ConfigModel):
    """The file of a table of the contract."""

    columns: dict[Name, Name] = Field(default_factory=dict)
    """The file's column for a column of the contract, where the names differ."""
    constants: dict[Name, Name] = Field(default_factory=dict)
    """A text for a column of the contract that is the same in all rows."""


class DeliveredTables(ConfigModel):
    """The tables that every delivery has, as files of these names. What is left out isn't delivered."""

    contact: DeliveredTable | None = None
    """People of the type contact."""
    lead: DeliveredTable | None = None
    """People of the type lead."""
    account: DeliveredTable | None = None
    """Companies with an address."""
    opt_in: DeliveredTable | None = None
    """The opt-ins, where they aren't in `crm.opt_ins`."""
    consent_event: DeliveredTable | None = None
    """The history of consents."""
    consent_state: DeliveredTable | None = None
    """The current state of consents, of records or addresses."""
    address_state: DeliveredTable | None = None
    """The addresses that bounce."""
    marketing_list: DeliveredTable | None = None
    """The marketing lists; all of them are static."""
    marketing_list_member: DeliveredTable | None = None
    """The members of marketing lists."""
    report: DeliveredTable | None = None
    """The reports; the rows of each are in a file report_<view_name>."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for name, table in self.delivered().items():
            known = {*REQUIRED_COLUMNS[name], *OPTIONAL_COLUMNS[name]}
            mapped = set() if name in PEOPLE else set(table.columns)
            if unknown := sorted((mapped | set(table.constants)) - known):
                raise ValueError(
                    f"{name} has no column {', '.join(unknown)} in the contract; it has {', '.join(sorted(known))}"
                )
            if both := sorted(set(table.columns) & set(table.constants)):
                raise ValueError(f"{name}: {', '.join(both)} is in columns and in constants; remove it from one")
        return self

    def delivered(self) -> dict[str, DeliveredTable]:
        """Return the tables that are delivered, by name, in the contract's order."""
        by_name = {name: getattr(self, name) for name in REQUIRED_COLUMNS}
        return {name: table for name, table in by_name.items() if table is not None}


class FilesLogin(ConfigModel):
    """Where files are delivered and left, and who logs in there."""

    url: Location
    """Where the files are delivered: a folder, sftp://host/folder, s3://, gs:// or abfs://."""
    write_back: Location
    """Where withdrawals and bounces are left for the CRM, as files; the same kinds of places."""
    username: Credential | None = None
    """User of the SFTP servers; {env: NAME} or {file: PATH}."""
    password: Credential | None = None
    """The user's password, or the passphrase of the key; {env: NAME} or {file: PATH}. A key_file is better."""
    key_file: Text | None = None
    """File with the user's private key."""


class FilesSettings(FilesLogin, CrmSettings):
    """A CRM that delivers its tables as files, and takes feedback as files: SAP, CAS, or any other."""

    NOT_CONTENT: ClassVar[frozenset[str]] = CrmSettings.NOT_CONTENT | {
        *("write_back", "key_file", "known_hosts", "max_age"),
    }

    adapter: Literal["files"] = "files"
    """The kind of CRM: `files` for deliveries of files."""
    known_hosts: Text | None = None
    """File with the servers' host keys; ~/.ssh/known_hosts if left out."""
    format: FileFormat = FileFormat()
    """The format of the delivered tables."""
    complete: PathPattern = "manifest.json"
    """The manifest that is written last. With "*/manifest.json", every delivery has a subfolder of its own."""
    trigger: PathPattern | None = None
    """A file that is written last instead of a manifest: "*.done", or "*/*.done" for subfolders. It proves less."""
    max_age: Duration = timedelta(hours=26)
    """How old the newest delivery may be when it is read."""
    tables: DeliveredTables
    """The tables that every delivery has."""

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        self._refuse_people_max_age(
            "people are read again as soon as there is a newer delivery, and max_age limits how old that may be"
        )
        delivered = self.tables.delivered()
        require_people_and_consents(delivered)
        if "opt_in" not in delivered and not self.opt_ins:
            raise ValueError("name the opt-ins in opt_ins, or have their table delivered and add tables.opt_in")
        if ("marketing_list" in delivered) != ("marketing_list_member" in delivered):
            raise ValueError("tables needs both marketing_list and marketing_list_member, or neither")
        return self

    @model_validator(mode="after")
    def _check_completeness(self) -> Self:
        if self.trigger is not None and "complete" in self.model_fields_set:
            raise ValueError("complete names a manifest and trigger replaces it; remove one of them")
        if any(character in self.complete.rpartition("/")[2] for character in "*?["):
            raise ValueError("complete must name one manifest, without * ? [ after the last /")
        return self

    @property
    def has_subfolders(self) -> bool:
        """Whether every delivery has a subfolder of its own."""
        return "/" in (self.trigger or self.complete)

    def is_delivery_folder(self, name: str) -> bool:
        """Return whether a subfolder of this name may hold a delivery."""
        return fnmatchcase(name, (self.trigger or self.complete).rpartition("/")[0])

    @property
    def last_file(self) -> str:
        """Name of the manifest, or pattern of the trigger, in the folder of a delivery."""
        return (self.trigger or self.complete).rpartition("/")[2]

    def file_of(self, table: str) -> str:
        """Return the name of the file of a table."""
        return f"{table}.{self.format.kind}"
