"""Consents that Dynamics 365 keeps as a state: of purposes and topics, in columns of records, and no mail at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from campaign_sync.config.crm_dataverse import BounceColumns, ConsentColumns, DataverseOptInSettings
from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.fetch_xml import Condition, FetchXml
from campaign_sync.crm.dataverse.metadata import Table
from campaign_sync.crm.dataverse.pages import Record, source_rows
from campaign_sync.crm.mirror.source import STATE_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmSetupError
from campaign_sync.domain.consent import VENDOR_SOURCE_PREFIX
from campaign_sync.domain.consent_state import NEITHER
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.text import normalize_text

NO_MAIL = ("donotbulkemail", "donotemail")
"""The columns of people who want no mail at all. They have no date."""

CONSENTS: Final = "msdynmkt_contactpointconsent4"

POINT_TYPE: Final = "msdynmkt_contactpointtype"
"""The column that says whether a consent is about e-mail or another channel."""

CONSENT_COLUMNS: Final = (
    *("msdynmkt_contactpointvalue", POINT_TYPE, "msdynmkt_value", "msdynmkt_contactpointconsenttype"),
    *("msdynmkt_purposeid", "msdynmkt_topicid", "msdynmkt_source", "msdynmkt_reason", "modifiedon", "statecode"),
)

EMAIL: Final = 534120000
"""The value of `POINT_TYPE` for e-mail."""

OF_EMAIL: Final = Condition(POINT_TYPE, "eq", (str(EMAIL),))
"""What holds for consents that are about e-mail."""

NOT_SET, OPTED_IN, OPTED_OUT = 534120000, 534120001, 534120002
"""The values of `msdynmkt_value`."""

OF_PURPOSE, OF_TOPIC = 534120000, 534120001
"""The values of `msdynmkt_contactpointconsenttype`."""

_WORDS = {NOT_SET: NEITHER, OPTED_IN: "granted", OPTED_OUT: "withdrawn"}

INTERNAL, PREFERENCE_PAGE, FORM = 534120000, 534120001, 534120005
"""Values of `msdynmkt_source`: of the system, and of what people did themselves."""

_SOURCES = {
    INTERNAL: "internal",
    PREFERENCE_PAGE: "preference page",
    534120003: "loaded",
    FORM: "form",
    534120007: "list-unsubscribe",
}


@dataclass(frozen=True)
class Subject:
    """What consents are about: a purpose, or a topic of it."""

    purpose_id: str
    topic_id: str | None

    def matches(self, record: Record) -> bool:
        """Return whether a consent is about this."""
        if self.topic_id is not None:
            return record.get("_msdynmkt_topicid_value") == self.topic_id
        return self.is_of_purpose(record)

    def is_of_purpose(self, record: Record) -> bool:
        """Return whether a consent is about the whole purpose. One without a type is, unless it grants."""
        if record.get("_msdynmkt_purposeid_value") != self.purpose_id or record.get("_msdynmkt_topicid_value"):
            return False
        kind = record.get("msdynmkt_contactpointconsenttype")
        return kind == OF_PURPOSE or (kind is None and record.get("msdynmkt_value") == OPTED_OUT)


class Subjects:
    """Finds the purposes and topics of opt-ins.

    Args:
        environment: what is read.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._known: dict[str, list[Record]] = {}

    def of(self, opt_in: DataverseOptInSettings) -> Subject:
        """Return what the consents of an opt-in are about.

        Raises:
            CrmSetupError: there is no such purpose or topic, or there are several.
        """
        purpose_id = self._id("msdynmkt_purpose", opt_in.purpose or "", None)
        topic_id = self._id("msdynmkt_topic", opt_in.topic, purpose_id) if opt_in.topic else None
        return Subject(purpose_id, topic_id)

    def _id(self, table: str, name: str, purpose_id: str | None) -> str:
        records = [
            record
            for record in self._records(table)
            if purpose_id is None or record.get("_msdynmkt_purposeid_value") == purpose_id
        ]
        key, what = f"{table}id", table.removeprefix("msdynmkt_")
        ids = [record[key] for record in records if record[key] == name.lower()] or [
            record[key]
            for record in records
            if normalize_text(str(record.get("msdynmkt_name"))) == normalize_text(name)
        ]
        if len(ids) != 1:
            known = ", ".join(sorted(repr(record.get("msdynmkt_name")) for record in records)) or "none at all"
            raise CrmSetupError(
                f"Dynamics 365 has {len(ids) or 'no'} {what} {name!r}; it has {known}. Name its id where several have "
                "the name"
            )
        return str(ids[0])

    def _records(self, table: str) -> list[Record]:
        if table not in self._known:
            columns = ["msdynmkt_name", *(["msdynmkt_purposeid"] if table == "msdynmkt_topic" else [])]
            known = self._environment.require(table, columns)
            pages = self._environment.pages(FetchXml.of_table(table, known.key, columns), f"the table {table}")
            self._known[table] = [record for page in pages for record in page]
        return self._known[table]


class PurposeConsents:
    """The consents of Customer Insights - Journeys. They belong to addresses and have no date of their own.

    Args:
        environment: what is read.
        opt_ins: those with a purpose, by their ids.
    """

    def __init__(self, environment: Environment, opt_ins: Mapping[str, DataverseOptInSettings]) -> None:
        subjects = Subjects(environment)
        self._subjects = {opt_in_id: subjects.of(opt_in) for opt_in_id, opt_in in opt_ins.items()}

    def rows(self, records: Iterator[Sequence[Record]]) -> SourceRows:
        """Return the states that records mean."""
        return source_rows(STATE_COLUMNS, records, self._states)

    def _states(self, record: Record) -> list[tuple[object, ...]]:
        word, address = _word(record), record.get("msdynmkt_contactpointvalue")
        if not address or record.get(POINT_TYPE) != EMAIL:
            return []
        return [
            (None, None, address, opt_in_id, word, None, *_evidence(record))
            for opt_in_id, subject in self._subjects.items()
            # Who opted out of the purpose is opted out of its topics.
            if subject.matches(record) or (word == "withdrawn" and subject.is_of_purpose(record))
        ]


def _word(record: Record) -> str:
    value = record.get("msdynmkt_value")
    if record.get("statecode") and value != OPTED_OUT:  # an inactive record grants nothing
        return NEITHER
    return _WORDS.get(value, str(value))  # type: ignore[arg-type]


def _evidence(record: Record) -> tuple[str, str]:
    """Return the source, which is the vendor's where this product opted the address out, and the evidence."""
    source = f"Customer Insights: {_SOURCES.get(record.get('msdynmkt_source', 0), 'other')}"
    reason = str(record.get("msdynmkt_reason") or "")
    if reason.startswith(VENDOR_SOURCE_PREFIX) and record.get("msdynmkt_value") == OPTED_OUT:
        source = reason.partition(",")[0]
    changed = f"record last changed {record.get('modifiedon')}"
    return source, f"{reason}; {changed}" if reason else changed


class RecordConsents:
    """The consents in the columns of a table of people, and who of them wants no mail at all.

    Args:
        environment: what is read.
        entity_type: the table.
        opt_ins: those whose consents are needed, by their ids.
    """

    def __init__(
        self, environment: Environment, entity_type: EntityType, opt_ins: Mapping[str, DataverseOptInSettings]
    ) -> None:
        self._environment, self._entity_type = environment, entity_type
        self._fields = {
            opt_in_id: opt_in.field[entity_type] for opt_in_id, opt_in in opt_ins.items() if entity_type in opt_in.field
        }

    def rows(self, records: Iterator[Sequence[Record]]) -> SourceRows:
        """Return the states that records mean."""
        table = self._environment.table(self._entity_type.value)
        return source_rows(STATE_COLUMNS, records, lambda record: self._states(record, table))

    def _states(self, record: Record, table: Table) -> list[tuple[object, ...]]:
        entity = (self._entity_type.value, record[table.key], None)
        return [
            (*entity, None, "withdrawn", None, f"Dynamics 365: {column}", None)
            for column in NO_MAIL
            if record.get(column)
        ] + [
            (*entity, opt_in_id, *column_state(columns, record), f"Dynamics 365: {columns.granted}", None)
            for opt_in_id, columns in self._fields.items()
        ]


def consent_columns(columns: ConsentColumns) -> list[str]:
    """Return the columns that hold a consent."""
    return [columns.granted, *([columns.at] if columns.at else [])]


def bounce_columns(columns: BounceColumns) -> list[str]:
    """Return the columns that hold a bounce."""
    return [columns.state, *([columns.at] if columns.at else [])]


def column_state(columns: ConsentColumns, record: Record) -> tuple[str, Any]:
    """Return the kind and the time of a consent in columns.

    Who has never been asked has a No without a time, which is no withdrawal.
    """
    at = record.get(columns.at) if columns.at else None
    if record.get(columns.granted):
        return "granted", at
    return ("withdrawn" if at else NEITHER), at
