"""The checks that can stop a replacement. Each is defined once, for the UI and for the replacement itself.

Row checks are pandera schemas (`row_checks.py`). Failing rows are removed before the snapshot is frozen, so a frozen
snapshot passes all of them. Checks of the whole set (`list_attributes`, `plausible_size`) have no rows to remove: they
stop the replacement.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import pandas as pd

from campaign_sync.domain.consent import NO_CONSENT_EVENTS, ConsentEventCounts
from campaign_sync.domain.message import Message, and_joined, join_messages
from campaign_sync.domain.recipient import ADDRESS, READ_ONLY_ATTRIBUTES, TechnicalField
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.size_limits import ApprovedSize, SizeBaseline, SizeLimits, change_violations, limit_violations
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.text import format_row_count, name_spellings, normalize_text

LIST_PREFIX = "list:"
"""Prefix of the snapshot columns that are sent as list attributes, so that no attribute can hide a key column."""

SIZE = "plausible_size"
"""The check of the number of rows."""

CHECK_NAMES = (
    "utf8",
    "technical_fields",
    "single_consent",
    "not_suppressed",
    "unique_recipients",
    "list_attributes",
    SIZE,
)


@dataclass(frozen=True)
class ListSchema:
    """The attributes and limits of one recipient list, as configured."""

    opt_in_id: str
    attributes: Mapping[str, str]
    """CRM column by list attribute."""
    technical: Mapping[TechnicalField, str]
    """List attribute by technical field."""
    limits: SizeLimits = field(default_factory=SizeLimits)

    @property
    def list_attributes(self) -> tuple[str, ...]:
        """All attributes that are sent, in the order of sending."""
        return (*self.technical.values(), *self.attributes)

    @property
    def list_columns(self) -> list[str]:
        """The snapshot columns of these attributes, in the same order."""
        return [LIST_PREFIX + name for name in self.list_attributes]

    def technical_column(self, technical_field: TechnicalField) -> str:
        """Return the snapshot column of a technical field."""
        return LIST_PREFIX + self.technical[technical_field]


@dataclass(frozen=True)
class CheckContext:
    """What the checks compare the rows with, read at the time of the check."""

    suppressed: Suppressed
    vendor_attributes: Collection[str]
    baselines: Sequence[SizeBaseline] = ()
    """For the rows to send: earlier replacements as sent, or the list's size before the first replacement."""
    list_baseline: SizeBaseline | None = None
    """For the recipients that the list ends up with."""
    consents: ConsentEventCounts = NO_CONSENT_EVENTS
    """How many of the CRM's consent events of the list's opt-in were understood."""
    size_accepted: str | None = None
    """Who accepted an implausible size for this replacement, and why; None if it wasn't accepted."""
    approved_sizes: Sequence[ApprovedSize] = ()
    """Of approved plans of the list as it is now, newest first."""

    def approved_size(self, by_entity_type: Mapping[str, int]) -> ApprovedSize | None:
        """Return the approved size that these numbers of rows are about; None if there is none."""
        return next((size for size in self.approved_sizes if size.allows(by_entity_type)), None)


@dataclass(frozen=True)
class Failure:
    """One kind of failure within a check: its code, the column, and the positions of the rows."""

    code: str
    column: str
    positions: tuple[int, ...]


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one check. With `warning`, a failure stops nothing."""

    name: str
    passed: bool
    summary: str
    failures: tuple[Failure, ...] = ()
    warning: bool = False

    @property
    def stops(self) -> bool:
        """Whether the list must not be changed."""
        return not self.passed and not self.warning

    @property
    def failing_rows(self) -> frozenset[int]:
        """Positions of all rows that fail, without those that stay in the list."""
        return frozenset(p for f in self.failures if f.code not in WARNINGS for p in f.positions)


MOJIBAKE = "mojibake"
"""The failure code of texts that were read in a wrong encoding."""

WARNINGS = frozenset({MOJIBAKE})
"""Failure codes that leave no row out. Above a limit they stop the list all the same."""

TOLERATED_ROWS = 10
"""If fewer rows can't be read, they are left out and the replacement goes on."""

TOLERATED_SHARE = 0.001
"""The same for a smaller share of the rows."""

ROW_REASONS = {
    "utf8": Reason.FORBIDDEN_CHARACTERS,
    "technical_fields": Reason.MISSING_TECHNICAL_FIELD,
    "unique_recipients": Reason.DUPLICATE_ADDRESS,
}
"""The reason for rejecting a row, by the check that it fails."""


def check_snapshot(frame: pd.DataFrame, list_schema: ListSchema, context: CheckContext) -> list[CheckOutcome]:
    """Run every check of `CHECK_NAMES` on a snapshot's rows. Return the outcomes in that order."""
    from campaign_sync.domain.row_checks import NOT_SUPPRESSED, row_checks, run_schema  # pandera is for runs alone

    outcomes = {name: run_schema(name, schema, frame) for name, schema in row_checks(list_schema).items()}
    outcomes["utf8"] = judge_mojibake(outcomes["utf8"], len(frame), list_schema.limits.max_mojibake)
    outcomes["not_suppressed"] = run_schema("not_suppressed", NOT_SUPPRESSED, _with_reason(frame, context))
    outcomes["list_attributes"] = check_list_attributes(list_schema, context.vendor_attributes)
    outcomes[SIZE] = check_size(entity_counts(frame), list_schema.limits, context)
    return [outcomes[name] for name in CHECK_NAMES]


def check_list_attributes(list_schema: ListSchema, vendor_attributes: Collection[str]) -> CheckOutcome:
    """Check that the vendor's list has every attribute that is sent, and that none is a read-only system attribute."""
    spellings = name_spellings(vendor_attributes)
    unknown = [name for name in list_schema.list_attributes if normalize_text(name) not in spellings]
    read_only = [name for name in list_schema.list_attributes if name.casefold() in READ_ONLY_ATTRIBUTES]
    if not unknown and not read_only:
        summary = Message("the list has all {count} attributes", count=len(list_schema.list_attributes))
        return CheckOutcome("list_attributes", True, summary)
    parts = []
    if unknown:
        parts.append(
            Message(
                "the list has no attribute {unknown}; correct attributes or technical_fields in the configuration, or "
                "add it to the list in Campaign; it has {known}",
                unknown=", ".join(unknown),
                known=", ".join(sorted(vendor_attributes)),
            )
        )
    if read_only:
        parts.append(Message("the vendor writes {attributes} itself", attributes=", ".join(read_only)))
    return CheckOutcome("list_attributes", False, join_messages("; ", parts))


def judge_mojibake(outcome: CheckOutcome, rows: int, limit: float) -> CheckOutcome:
    """Return the check of texts with a sentence on mojibake: it stops the list if more rows than `limit` have some.

    Args:
        outcome: of the rows.
        rows: their number.
        limit: the largest share of rows with mojibake, each counted once.
    """
    garbled = [failure for failure in outcome.failures if failure.code == MOJIBAKE]
    if not garbled:
        return outcome
    affected = len({position for failure in garbled for position in failure.positions})
    exceeds = affected > rows * Fraction(str(limit))
    columns = ", ".join(
        f"{failure.column.removeprefix(LIST_PREFIX)} in {len(failure.positions)}" for failure in garbled
    )
    values = {
        "affected": affected,
        "rows": format_row_count(rows),
        "share": _percent(affected / rows),
        "columns": columns,
        "limit": _percent(limit),
    }
    finding = (
        Message(
            "{affected} of {rows} ({share}) have mojibake like “KÃ¶ln” ({columns}), more than max_mojibake {limit}",
            **values,
        )
        if exceeds
        else Message(
            "{affected} of {rows} ({share}) have mojibake like “KÃ¶ln” ({columns}), within max_mojibake {limit}",
            **values,
        )
    )
    remedy = Message("correct these texts in the CRM, or crm.format.encoding if it delivers files in another encoding")
    others = [failure for failure in outcome.failures if failure.code != MOJIBAKE]
    summary = join_messages("; ", [finding, remedy, *([describe_failures(others)] if others else [])])
    return replace(outcome, summary=summary, warning=outcome.warning and not exceeds)


def describe_failures(failures: Iterable[Failure]) -> Message:
    """Return in how many rows of which column what was found."""
    return join_messages(
        ", ",
        [
            Message(
                "{column}: {code} in {rows}",
                column=failure.column.removeprefix(LIST_PREFIX),
                code=failure.code,
                rows=format_row_count(len(failure.positions)),
            )
            for failure in failures
        ],
    )


def _percent(share: float) -> Message:
    """Return a share to three digits: 5%, 12.5%, 0.0123%."""
    return Message("{percent:g}%", percent=float(f"{100 * share:.3g}"))


def check_encoding(left_out: int, sent: int, columns: Mapping[str, int] | None = None) -> CheckOutcome:
    """Check that few rows were left out because a text isn't UTF-8 in the CRM.

    Args:
        left_out: how many rows were left out.
        sent: how many rows are sent.
        columns: in how many rows each column isn't UTF-8, if known.
    """
    if not left_out:
        return CheckOutcome("utf8", True, Message("every text is UTF-8 in the CRM"))
    parts = [join_messages(" in ", [f"; {name}", format_row_count(rows)]) for name, rows in (columns or {}).items()]
    stops = left_out >= TOLERATED_ROWS and left_out >= TOLERATED_SHARE * (left_out + sent)
    return CheckOutcome(
        "utf8",
        False,
        Message(
            "{rows} left out for text that isn't UTF-8 in the CRM (latin-1, perhaps){columns}; write those values "
            "again as UTF-8, or correct crm.format.encoding if the CRM delivers files in another encoding. "
            "`campaign-sync why` names the column for each person",
            rows=format_row_count(left_out),
            columns=join_messages("", parts),
        ),
        warning=not stops,
    )


def merge_outcomes(outcome: CheckOutcome, further: CheckOutcome) -> CheckOutcome:
    """Return the outcome combined with a further outcome of the same check; unchanged if that is of another check."""
    if outcome.name != further.name or further.passed:
        return outcome
    summary = further.summary if outcome.passed else join_messages("; ", [further.summary, outcome.summary])
    warning = not (outcome.stops or further.stops)
    return replace(outcome, passed=False, summary=summary, warning=warning)


_SHOWN_WORDS = 5

_KEYWORD = re.compile(r"[^\W\d][\w .:/-]{0,31}")
"""A keyword of the CRM. Other values, and rare ones, may be personal data and aren't shown."""

_REMEDIES = {
    "kind": Message(
        "declare the kind in crm.consent_kinds (granted, withdrawn or ignored); write an empty state as `none`"
    ),
    "entity_type": Message("write contact, lead or account"),
    "opt_in_id": Message("write an opt-in that the table opt_in defines, or define it there"),
    "occurred_at": Message("write a time as 2026-03-01 12:00:00"),
}


def check_consents(read: ConsentEventCounts) -> CheckOutcome:
    """Check that few consent events of a list's opt-in aren't understood.

    The people concerned are left out of the list in any case. Many such events would empty parts of it, and are a sign
    of a change in the CRM that needs attention.
    """
    unclear = sum(read.unclear.values())
    cleaned = [Message("{events} only without regard to blanks and case", events=read.cleaned)] if read.cleaned else []
    if not unclear:
        understood = Message("all {events} consent events are understood", events=read.rows)
        return CheckOutcome("consents", True, join_messages("; ", [understood, *cleaned]))
    parts = [
        Message(
            "{events} in {column}{words}: {remedy}",
            events=count,
            column=f"consent_event.{name}",
            words=_words(read, name),
            remedy=_REMEDIES[name],
        )
        for name, count in sorted(read.unclear.items())
    ]
    not_understood = Message(
        "{unclear} of {events} consent events can't be understood, and the people concerned are left out ({columns})",
        unclear=unclear,
        events=read.rows,
        columns=join_messages("; ", parts),
    )
    summary = join_messages("; ", [not_understood, *cleaned])
    stops = unclear >= TOLERATED_ROWS and unclear >= TOLERATED_SHARE * read.rows
    return CheckOutcome("consents", False, summary, warning=not stops)


def _words(read: ConsentEventCounts, name: str) -> str:
    often = sorted(((count, word) for (column, word), count in read.words.items() if column == name), reverse=True)
    shown = [
        Message("“{word}” {count} times", word=word, count=count)
        for count, word in often[:_SHOWN_WORDS]
        if count >= TOLERATED_ROWS and _KEYWORD.fullmatch(word)
    ]
    return join_messages("", [" (", join_messages(", ", shown), ")"]) if shown else ""


def entity_counts(rows: pd.DataFrame) -> dict[str, int]:
    """Return the number of a snapshot's rows by entity type."""
    return {str(kind): int(count) for kind, count in rows["entity_type"].value_counts().sort_index().items()}


def check_size(by_entity_type: Mapping[str, int], limits: SizeLimits, context: CheckContext) -> CheckOutcome:
    """Check a list's size against its limits. A large change may have been accepted, absolute limits always apply."""
    rows = sum(by_entity_type.values())
    violations, changes = limit_violations(rows, limits), change_violations(by_entity_type, limits, context.baselines)
    approved = context.approved_size(by_entity_type)
    accepted_by = context.size_accepted or (approved.approved if approved else None)
    if violations or (changes and not accepted_by):
        return CheckOutcome(SIZE, False, join_messages("; ", violations or changes))
    if changes:
        accepted = Message("accepted this once by {person}", person=accepted_by)
        return CheckOutcome(SIZE, True, join_messages("; ", [*changes, accepted]))
    if not context.baselines:
        return CheckOutcome(
            SIZE, True, Message("{rows}, measured against an empty list without history", rows=format_row_count(rows))
        )
    before = and_joined([join_messages("", [str(base.rows), " (", base.origin, ")"]) for base in context.baselines])
    summary = Message("{rows}, measured against {before}", rows=format_row_count(rows), before=before)
    return CheckOutcome(SIZE, True, summary)


def _with_reason(frame: pd.DataFrame, context: CheckContext) -> pd.DataFrame:
    rows = frame.reindex(columns=["entity_type", "entity_id", "consent_at", ADDRESS])  # if missing, other checks fail
    return pd.DataFrame({"suppressed_because": context.suppressed.reasons(rows, rows[ADDRESS])})
