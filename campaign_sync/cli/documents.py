"""What commands print with --json, as typed documents. Their schemas are in `schemas`; ADR 87 says what may change.

Here are values only: the modules of the commands make them of what they found.
"""

from collections.abc import Mapping
from datetime import date, datetime
from importlib.resources import files
from typing import Annotated, Literal, Self

import typer
from pydantic import BaseModel, ConfigDict

from campaign_sync.cli.error_handling import CommandError, Terminal

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead; `campaign-sync schema` shows its schemas.")]


class DocumentPart(BaseModel):
    """A part of a document. The docstrings below its attributes describe them in the JSON schema."""

    model_config = ConfigDict(frozen=True, defer_build=True, json_schema_serialization_defaults_required=True)


class Document(DocumentPart):
    """What one command prints."""

    version: Literal[1] = 1
    """Counts up if something is removed, renamed or gets another meaning; what is added doesn't count."""


class ListResult(DocumentPart):
    """What a run did with one recipient list. Counts of people are null where the run didn't get that far."""

    name: str
    state: Literal["proven", "incomplete", "not_touched"]
    selected: int | None
    suppressed: int | None
    rejected: int | None
    sent: int | None
    in_list: int | None
    proof: str | None
    """What the proof compared, in words."""
    incomplete_since: datetime | None


class RunDocument(Document):
    """The outcome of `run`, `replay` and `apply`."""

    mandator: str
    proven: bool
    """Whether all lists are proven and nothing failed: exit code 0."""
    run_ids: tuple[str, ...]
    """The run, and those by which Dagster retried it."""
    lists: tuple[ListResult, ...]
    problems: tuple[str, ...]
    """A sentence for each failed check or step."""
    report: str | None
    """Where the report is."""

    @classmethod
    def of_no_list(cls, mandator: str) -> Self:
        """Return the document of a run that wasn't needed."""
        return cls(mandator=mandator, proven=True, run_ids=(), lists=(), problems=(), report=None)


class Finding(DocumentPart):
    """One thing that was tried."""

    place: str
    """Its place in the configuration file."""
    passed: bool | None
    """Null if nothing has to be corrected, but something to be known."""
    summary: str


class CheckDocument(Document):
    """What `check` found."""

    passed: bool
    """Whether nothing has to be corrected."""
    findings: tuple[Finding, ...]


class MissingSetting(DocumentPart):
    """A setting that Dagster's instance lacks."""

    section: str
    consequence: str
    remedy: str
    """Lines to add to `dagster.yaml`."""


class SettingWithoutEffect(DocumentPart):
    """A setting of the configuration that has no effect on Dagster's instance, or not all of it."""

    place: str
    """Its place in the configuration file."""
    reason: str


class InstanceDocument(Document):
    """What `check --instance` found."""

    home: str
    lacking: tuple[MissingSetting, ...]
    without_effect: tuple[SettingWithoutEffect, ...] | None
    """Null if the configuration can't be read."""
    parallel_runs: int
    """Up to which `parallel_runs` of a mandator it serves."""


class OpenProblem(DocumentPart):
    """Something that is wrong now."""

    mandator: str
    subject: str
    """The list's key, or `the feedback`, `a run`, `the configuration`."""
    kind: str
    """Of the incident; `not_ready` or `not_checked` for a list that has none yet."""
    since: datetime | None
    what: str


class Sensor(DocumentPart):
    """A sensor of Dagster's."""

    name: str
    running: bool
    """Whether it is switched on."""
    ticked_at: datetime | None
    """When it ran last; null if never."""


class AlarmsDocument(Document):
    """What `alarms` found."""

    nothing_wrong: bool
    """Exit code 0."""
    problems: tuple[OpenProblem, ...]
    not_watched: tuple[str, ...]
    """Why no alarm would be sent, a sentence for each mandator, and which sensors are switched off or late."""
    sensors: tuple[Sensor, ...]
    """Empty if Dagster's instance can't be read, or none has ever run."""


class Consent(DocumentPart):
    """One event of a consent."""

    event_id: str
    kind: str
    occurred_at: datetime | None
    """Null if no time is known, or if the CRM has a state without a date."""
    source: str | None
    evidence: str | None
    text_version: str | None
    from_feedback: str | None
    """The file or answer of the vendor's feedback because of which we wrote the event."""


class PlanApproval(DocumentPart):
    """A person's approval of a plan."""

    plan_id: str
    approved_by: str
    """Who, and how that is known: `proxy: …`, `typed: …` or `shell: …`."""
    approved_at: datetime
    reason: str


class SnapshotRedaction(DocumentPart):
    """What the erasure of a person changed in a snapshot."""

    erasure_id: str
    redacted_at: datetime
    rows: int
    """How many rows were removed."""
    sha256_before: str
    sha256_after: str


class Proof(DocumentPart):
    """A proof of a list, and the snapshot that was proven."""

    proven_at: datetime
    snapshot_id: str
    frozen_at: datetime
    file: str
    sha256: str
    people_of: datetime | None
    consents_of: datetime | None
    approval: PlanApproval | None
    """Null if the replacement needed no approval of a plan."""
    redactions: tuple[SnapshotRedaction, ...]
    """The erasures since, oldest first. The list was proven with the rows that they removed."""


class ListRejection(DocumentPart):
    """Why a person didn't get into a list."""

    stage: str
    reason: str
    vendor_code: int | None
    first_seen: datetime
    last_seen: datetime


class Membership(DocumentPart):
    """One person in one list at one moment."""

    in_list: bool | None
    """Null if that is unknown: see `incomplete_since` and `unreadable`."""
    proof: Proof | None
    """The newest one until then."""
    incomplete_since: datetime | None
    unreadable: str | None
    """Why the snapshot can't be read."""
    sent_to: str | None
    """The address in the snapshot's row."""
    consent: Consent | None
    """The one that allowed the row."""
    rejection: ListRejection | None
    """Why the person wasn't in the list; null also for people who weren't selected."""


class Suppression(DocumentPart):
    """Something that keeps a person out of a list now."""

    reason: str
    since: datetime | None
    source: str | None
    record: str | None
    """Whose withdrawal it is; null if only an address is known."""


class PersonInList(DocumentPart):
    """One person and one list."""

    mandator: str
    list: str
    opt_in_id: str
    then: Membership
    """At the end of the day asked for."""
    now: Membership
    consent_events: tuple[Consent, ...]
    """All that the CRM has now, the oldest first."""
    suppressions: tuple[Suppression, ...]
    awaited_plan_id: str | None
    """The plan whose approval the list waits for."""


class Person(DocumentPart):
    """One person in all lists."""

    record: str | None
    """Like `contact:4711`; null for an address that no record of the CRM has."""
    address: str | None
    """As the CRM spells it; null if the CRM doesn't have the person."""
    lists: tuple[PersonInList, ...]


class PersonDocument(Document):
    """The answer of `why` and `prove`, with the personal data that was asked for."""

    day: date | None
    """The day asked for; null for now."""
    people: tuple[Person, ...]


class ComparedSide(DocumentPart):
    """One side of a comparison."""

    proven_at: datetime
    snapshot_id: str
    in_list: int
    uncertain: int
    """Further rows that may have been in the list."""


class RowChange(DocumentPart):
    """How one person's row changed."""

    record: str
    change: Literal["left", "joined", "changed"]
    why: str | None
    columns: tuple[str, ...]


class DiffDocument(Document):
    """The answer of `diff`."""

    mandator: str
    list: str
    before: ComparedSide
    after: ComparedSide
    left: int
    joined: int
    changed: int
    left_by_reason: Mapping[str, int]
    changed_by_column: Mapping[str, int]
    changes: tuple[RowChange, ...]


class ReaderSample(DocumentPart):
    """The first rows of one reader, under pseudonyms."""

    reader: str
    refusal: str | None
    """Why the vendor refused the reader."""
    rows_read: int
    rows: tuple[tuple[str, ...], ...]
    layout: Mapping[str, int | str | bool | None] | None
    """The guess, with the keys of the configuration; null without rows."""
    warnings: tuple[str, ...]


class SampleDocument(Document):
    """What `feedback sample` found."""

    mandator: str
    readers: tuple[ReaderSample, ...]


class UnreadImport(DocumentPart):
    """Rows of one file, or of one window, that can't be read."""

    import_id: str
    reader: str
    origin: str
    rows: int
    unread: int
    why: str


class UnreadDocument(Document):
    """What `feedback unread` found."""

    mandator: str
    imports: tuple[UnreadImport, ...]


class InquiryEntry(DocumentPart):
    """That a person asked about people, or accepted an exception."""

    asked_at: datetime
    asked_by: str
    command: str
    """Also `approve`, `feedback dismiss`, `run --accept-size` and `run --accept-withdrawals`."""
    subject: str | None
    """The keyed pseudonym of the address or record that was asked about; null if it was about many, or none."""
    mandator: str | None
    list: str | None
    """Null where it wasn't about a single list."""


class InquiriesDocument(Document):
    """What `inquiries` found, newest first."""

    days: int
    inquiries: tuple[InquiryEntry, ...]


class ErasedPlace(DocumentPart):
    """One place where data of people is kept."""

    place: str
    state: Literal["done", "nothing", "pending", "theirs", "by age"]
    """Whether it was removed; wasn't there; is removed later; is for others to remove; goes by its age."""
    rows: int
    """How many rows, or files, were removed there."""
    note: str | None
    """What has to be known or done."""


class ErasureResult(DocumentPart):
    """One erasure. It names no person."""

    id: str
    erased_at: datetime
    asked_by: str
    reason: str
    done_at: datetime | None
    """Null while something is pending."""
    places: tuple[ErasedPlace, ...]


class ErasureDocument(Document):
    """What `erase` did."""

    dry_run: bool
    pending: bool
    """Whether something remains to be removed: exit code 3."""
    erasures: tuple[ErasureResult, ...]
    """Those of this call and earlier ones that were pending; with `--list`, all."""


SCHEMAS: Mapping[str, str] = {
    "alarms": "AlarmsDocument",
    "apply": "RunDocument",
    "check": "CheckDocument",
    "check --instance": "InstanceDocument",
    "diff": "DiffDocument",
    "erase": "ErasureDocument",
    "feedback sample": "SampleDocument",
    "feedback unread": "UnreadDocument",
    "inquiries": "InquiriesDocument",
    "plan": "PlanDocument",
    "prove": "PersonDocument",
    "replay": "RunDocument",
    "run": "RunDocument",
    "why": "PersonDocument",
}
"""The documents, by the command that prints them. Their schemas have the same names."""


def console_for(as_json: bool) -> Terminal:
    """Return where a command prints what people read: nowhere if it prints a document."""
    return Terminal(quiet=as_json)


def print_document(document: Document) -> None:
    """Print a document, and nothing else. Control characters in its texts are escaped, as JSON is."""
    typer.echo(document.model_dump_json(indent=2, ensure_ascii=True))


def schema_text(command: str) -> str:
    """Return the JSON schema of what a command prints with --json.

    Raises:
        CommandError: it prints no JSON.
    """
    name = SCHEMAS.get(command)
    if name is None:
        raise CommandError(f"{command} prints no JSON; those that do are {', '.join(SCHEMAS)}")
    return (files(__package__) / "schemas" / f"{name}.json").read_text(encoding="utf-8")
