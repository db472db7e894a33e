"""The checks that can stop a replacement. Each is defined once, for the UI and for the replacement itself.

Row checks are pandera schemas. Failing rows are removed before the snapshot is frozen, so a frozen snapshot passes all
of them. Checks of the whole set (`list_attributes`, `plausible_size`) have no rows to remove: they stop the
replacement.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import pandera.pandas as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from campaign_sync.domain.arrow_text import to_arrow
from campaign_sync.domain.consent import GRANTING, NO_CONSENT_EVENTS, ConsentEventCounts, is_email
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.size_limits import SizeBaseline, SizeLimits, change_violations, limit_violations
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.text import MOJIBAKE, XML_FORBIDDEN, format_row_count, name_spellings, normalize_text

LIST_PREFIX = "list:"
"""Prefix of the snapshot columns that are sent as list attributes, so that no attribute can hide a key column."""

CHECK_NAMES = (
    "utf8",
    "technical_fields",
    "single_consent",
    "not_suppressed",
    "unique_recipients",
    "list_attributes",
    "plausible_size",
)

READ_ONLY_ATTRIBUTES = frozenset(
    name.casefold()
    for name in (
        *("Erstellt am", "Geändert am", "Opt-in-Quelle", "Opt-in-Datum"),
        *("Created", "Created on", "Modified", "Modified on", "Opt-in source", "Opt-in date", "bmOptinFinishedDate"),
    )
)
"""System attributes of every list, which only the vendor may write (observed in German; English and REST names)."""


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
        """Positions of all rows that fail, without those that only cause warnings."""
        return frozenset(p for f in self.failures if f.code not in WARNINGS for p in f.positions)


WARNINGS = frozenset({"mojibake"})
"""Failure codes that only warn."""

TOLERATED_ROWS = 10
"""If fewer rows can't be read, they are left out and the replacement goes on."""

TOLERATED_SHARE = 0.001
"""The same for a smaller share of the rows."""

_ENCODABLE_FORBIDDEN = XML_FORBIDDEN.pattern.replace("\ud800-\udfff", "")
"""Without lone surrogates, which Arrow's texts can't contain and Arrow's regular expressions can't name."""

ROW_REASONS = {
    "utf8": Reason.FORBIDDEN_CHARACTERS,
    "technical_fields": Reason.MISSING_TECHNICAL_FIELD,
    "unique_recipients": Reason.DUPLICATE_ADDRESS,
}
"""The reason for rejecting a row, by the check that it fails."""


def row_checks(list_schema: ListSchema) -> dict[str, pa.DataFrameSchema]:
    """Return the checks that need only the rows and the configuration, as pandera schemas by name."""
    to_arrow = [RECIPIENT_ID, ADDRESS, *list_schema.list_columns]
    opt_in_column = list_schema.technical_column(TechnicalField.OPT_IN_ID)
    entity_type_column = list_schema.technical_column(TechnicalField.ENTITY_TYPE)
    return {
        "utf8": _schema({column: [_legal_characters(), _no_mojibake()] for column in to_arrow}),
        "technical_fields": _schema(
            {list_schema.technical_column(name): [_non_empty()] for name in TechnicalField}
            | {entity_type_column: [_non_empty(), _one_of("known_entity_type", [kind.value for kind in EntityType])]}
            | {list_schema.technical_column(TechnicalField.MEDIA_TYPE): [_non_empty(), _email_only()]}
        ),
        "single_consent": _schema(
            {
                opt_in_column: [_one_of("the_lists_own_opt_in", [list_schema.opt_in_id])],
                "opt_in_id": [_one_of("the_lists_own_opt_in", [list_schema.opt_in_id])],
                "consent_kind": [_one_of("consent_granted", sorted(GRANTING))],
                "consent_event_id": [_non_empty("consent_evidence")],
            }
        ),
        "unique_recipients": _schema({column: [_unique()] for column in (RECIPIENT_ID, ADDRESS)}),
    }


def check_snapshot(frame: pd.DataFrame, list_schema: ListSchema, context: CheckContext) -> list[CheckOutcome]:
    """Run every check of `CHECK_NAMES` on a snapshot's rows. Return the outcomes in that order."""
    outcomes = {name: run_schema(name, schema, frame) for name, schema in row_checks(list_schema).items()}
    outcomes["not_suppressed"] = run_schema("not_suppressed", _NOT_SUPPRESSED, _with_reason(frame, context))
    outcomes["list_attributes"] = check_list_attributes(list_schema, context.vendor_attributes)
    outcomes["plausible_size"] = check_size(entity_counts(frame), list_schema.limits, context)
    return [outcomes[name] for name in CHECK_NAMES]


def run_schema(name: str, schema: pa.DataFrameSchema, frame: pd.DataFrame) -> CheckOutcome:
    """Run a row check. The outcome has pandera's failure cases without their values, which are personal data."""
    try:
        schema.validate(frame.reset_index(drop=True), lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return CheckOutcome(name, passed=True, summary=f"all {len(frame)} rows pass")
    failures = tuple(
        Failure(str(code), str(column), tuple(int(i) for i in group["index"].dropna()))
        for (code, column), group in _with_missing_columns(cases).groupby(["check", "column"], dropna=False)
    )
    warning = bool(failures) and all(failure.code in WARNINGS for failure in failures)
    counts = ", ".join(f"{f.column.removeprefix(LIST_PREFIX)}: {f.code} in {len(f.positions)} rows" for f in failures)
    return CheckOutcome(name, passed=False, summary=counts, failures=failures, warning=warning)


def _with_missing_columns(cases: pd.DataFrame) -> pd.DataFrame:
    """Return check, column and index of each case. Pandera names a missing column where it has values otherwise."""
    is_missing = cases["check"].astype("str") == "column_in_dataframe"
    column = cases["column"].astype("str").where(~is_missing, cases["failure_case"].astype("str"))
    return pd.DataFrame({"check": cases["check"].astype("str"), "column": column, "index": cases["index"]})


def check_list_attributes(list_schema: ListSchema, vendor_attributes: Collection[str]) -> CheckOutcome:
    """Check that the vendor's list has every attribute that is sent, and that none is a read-only system attribute."""
    spellings = name_spellings(vendor_attributes)
    unknown = [name for name in list_schema.list_attributes if normalize_text(name) not in spellings]
    read_only = [name for name in list_schema.list_attributes if name.casefold() in READ_ONLY_ATTRIBUTES]
    if not unknown and not read_only:
        return CheckOutcome("list_attributes", True, f"the list has all {len(list_schema.list_attributes)} attributes")
    parts = []
    if unknown:
        parts.append(
            f"the list has no attribute {', '.join(unknown)}; correct attributes or technical_fields in the "
            f"configuration, or add it to the list in Campaign; it has {', '.join(sorted(vendor_attributes))}"
        )
    if read_only:
        parts.append(f"the vendor writes {', '.join(read_only)} itself")
    return CheckOutcome("list_attributes", False, "; ".join(parts))


def check_encoding(left_out: int, sent: int, columns: Mapping[str, int] | None = None) -> CheckOutcome:
    """Check that few rows were left out because a text isn't UTF-8 in the CRM.

    Args:
        left_out: how many rows were left out.
        sent: how many rows are sent.
        columns: in how many rows each column isn't UTF-8, if known.
    """
    if not left_out:
        return CheckOutcome("utf8", True, "every text is UTF-8 in the CRM")
    where = "".join(f"; {name} in {format_row_count(rows)}" for name, rows in (columns or {}).items())
    stops = left_out >= TOLERATED_ROWS and left_out >= TOLERATED_SHARE * (left_out + sent)
    return CheckOutcome(
        "utf8",
        False,
        f"{format_row_count(left_out)} left out for text that isn't UTF-8 in the CRM (latin-1, perhaps){where}; "
        "write those values again as UTF-8, or correct crm.format.encoding if the CRM delivers files in another "
        "encoding. `campaign-sync why` names the column for each person",
        warning=not stops,
    )


def merge_outcomes(outcome: CheckOutcome, further: CheckOutcome) -> CheckOutcome:
    """Return the outcome combined with a further outcome of the same check; unchanged if that is of another check."""
    if outcome.name != further.name or further.passed:
        return outcome
    summary = further.summary if outcome.passed else f"{further.summary}; {outcome.summary}"
    warning = not (outcome.stops or further.stops)
    return replace(outcome, passed=False, summary=summary, warning=warning)


_SHOWN_WORDS = 5

_KEYWORD = re.compile(r"[^\W\d][\w .:/-]{0,31}")
"""A keyword of the CRM. Other values, and rare ones, may be personal data and aren't shown."""

_REMEDIES = {
    "kind": "declare the kind in crm.consent_kinds (granted, withdrawn or ignored); write an empty state as `none`",
    "entity_type": "write contact, lead or account",
    "opt_in_id": "write an opt-in that the table opt_in defines, or define it there",
    "occurred_at": "write a time as 2026-03-01 12:00:00",
}


def check_consents(read: ConsentEventCounts) -> CheckOutcome:
    """Check that few consent events of a list's opt-in aren't understood.

    The people concerned are left out of the list in any case. Many such events would empty parts of it, and are a sign
    of a change in the CRM that needs attention.
    """
    unclear = sum(read.unclear.values())
    cleaned = f"; {read.cleaned} only without regard to blanks and case" if read.cleaned else ""
    if not unclear:
        return CheckOutcome("consents", True, f"all {read.rows} consent events are understood{cleaned}")
    parts = (
        f"{count} in consent_event.{name}{_words(read, name)}: {_REMEDIES[name]}"
        for name, count in sorted(read.unclear.items())
    )
    summary = (
        f"{unclear} of {read.rows} consent events can't be understood, and the people concerned are left out "
        f"({'; '.join(parts)}){cleaned}"
    )
    stops = unclear >= TOLERATED_ROWS and unclear >= TOLERATED_SHARE * read.rows
    return CheckOutcome("consents", False, summary, warning=not stops)


def _words(read: ConsentEventCounts, name: str) -> str:
    often = sorted(((count, word) for (column, word), count in read.words.items() if column == name), reverse=True)
    shown = [
        f"“{word}” {count} times"
        for count, word in often[:_SHOWN_WORDS]
        if count >= TOLERATED_ROWS and _KEYWORD.fullmatch(word)
    ]
    return f" ({', '.join(shown)})" if shown else ""


def entity_counts(rows: pd.DataFrame) -> dict[str, int]:
    """Return the number of a snapshot's rows by entity type."""
    return {str(kind): int(count) for kind, count in rows["entity_type"].value_counts().sort_index().items()}


def check_size(by_entity_type: Mapping[str, int], limits: SizeLimits, context: CheckContext) -> CheckOutcome:
    """Check a list's size against its limits. A large change may have been accepted, absolute limits always apply."""
    rows = sum(by_entity_type.values())
    violations, changes = limit_violations(rows, limits), change_violations(by_entity_type, limits, context.baselines)
    if violations or (changes and not context.size_accepted):
        return CheckOutcome("plausible_size", False, "; ".join(violations or changes))
    if changes:
        accepted = f"accepted this once by {context.size_accepted}"
        return CheckOutcome("plausible_size", True, f"{'; '.join(changes)}; {accepted}")
    against = " and ".join(f"{baseline.rows} ({baseline.origin})" for baseline in context.baselines)
    return CheckOutcome(
        "plausible_size", True, f"{rows} rows, measured against {against or 'an empty list without history'}"
    )


def _with_reason(frame: pd.DataFrame, context: CheckContext) -> pd.DataFrame:
    rows = frame.reindex(columns=["entity_type", "entity_id", "consent_at", ADDRESS])  # if missing, other checks fail
    return pd.DataFrame({"suppressed_because": context.suppressed.reasons(rows, rows[ADDRESS])})


def _schema(columns: Mapping[str, list[pa.Check]]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(checks=checks, nullable=True) for name, checks in columns.items()})


def _check(code: str, passes: "Callable[[pd.Series[str]], pd.Series[bool]]", *, ignore_na: bool = True) -> pa.Check:
    return pa.Check(passes, name=code, error=code, ignore_na=ignore_na)


def _legal_characters() -> pa.Check:
    return _check("forbidden_characters", lambda values: ~values.str.contains(_ENCODABLE_FORBIDDEN))


def _no_mojibake() -> pa.Check:
    return _check("mojibake", lambda values: ~values.str.contains(MOJIBAKE.pattern))


def _non_empty(code: str = "missing") -> pa.Check:
    return _check(code, lambda values: values.fillna("").str.strip() != "", ignore_na=False)


def _one_of(code: str, allowed: Collection[str]) -> pa.Check:
    return _check(code, lambda values: values.isin(list(allowed)), ignore_na=False)


def _email_only() -> pa.Check:
    """Refuse other media types; a missing one fails another check."""

    def passes(values: "pd.Series[str]") -> "pd.Series[bool]":
        return values.isin([value for value in values.unique() if not value.strip() or is_email(value)])

    return _check("not_email", passes)


def _none_is(code: str) -> pa.Check:
    return _check(code, lambda values: values != code)


def _unique() -> pa.Check:
    return _check("repeated", _is_first_occurrence, ignore_na=False)


def _is_first_occurrence(values: "pd.Series[str]") -> "pd.Series[bool]":
    column = to_arrow(values)
    if pc.all(pc.greater(column[1:], column[:-1]), skip_nulls=False).as_py():  # sorted, as snapshots are
        return pd.Series(True, index=values.index)
    return ~values.duplicated(keep="first")


_NOT_SUPPRESSED = _schema(
    {
        "suppressed_because": [
            _none_is(reason.value)
            for reason in (
                Reason.BOUNCED,
                Reason.UNSUBSCRIBED,
                Reason.CONSENT_WITHDRAWN,
                Reason.CONSENT_UNCLEAR,
                Reason.WITHDRAWAL_VANISHED,
                Reason.UNDATED_REGRANT,
            )
        ]
    }
)
