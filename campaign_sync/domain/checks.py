"""The checks that can stop a replace, each defined once: the UI shows them, and the replace itself obeys them.

Checks of rows are pandera schemas; a failing row is taken out before the snapshot is frozen, so on a frozen snapshot
they must all pass. Checks of the set (`list_attributes`, `plausible_size`) have no rows to take out: they stop it.
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
"""Snapshot columns that are sent as list attributes begin with this, so that no attribute name can hide a key."""

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
"""System attributes that every list has and nobody may write (observed in German; English and REST names)."""


@dataclass(frozen=True)
class ListSchema:
    """What the rows of one recipient list must be: set by the configuration, not by the data."""

    opt_in_id: str
    attributes: Mapping[str, str]
    """List attribute: CRM column."""
    technical: Mapping[TechnicalField, str]
    """Technical field: list attribute."""
    limits: SizeLimits = field(default_factory=SizeLimits)

    @property
    def list_attributes(self) -> tuple[str, ...]:
        """Every attribute that is sent, in the order in which it is sent."""
        return (*self.technical.values(), *self.attributes)

    @property
    def list_columns(self) -> list[str]:
        """The snapshot columns that are sent, in the same order."""
        return [LIST_PREFIX + name for name in self.list_attributes]

    def technical_column(self, technical_field: TechnicalField) -> str:
        """The snapshot column that holds a technical field."""
        return LIST_PREFIX + self.technical[technical_field]


@dataclass(frozen=True)
class CheckContext:
    """What the checks compare the rows with, looked up at the moment of checking."""

    suppressed: Suppressed
    vendor_attributes: Collection[str]
    baselines: Sequence[SizeBaseline] = ()
    """Of what is sent: earlier replaces as they were sent, or the list as it was when we came."""
    list_baseline: SizeBaseline | None = None
    """Of what ends in the list."""
    consents: ConsentEventCounts = NO_CONSENT_EVENTS
    """How well the CRM's consent events of the list's opt-in can be understood."""
    size_accepted: str | None = None
    """Who accepts this once that the size is implausible, and why; None where nobody does."""


@dataclass(frozen=True)
class Failure:
    """One kind of failure within a check: what, where, how many rows, and which (by position)."""

    code: str
    column: str
    positions: tuple[int, ...]


@dataclass(frozen=True)
class CheckOutcome:
    """What one check found. `warning` means: worth a look, stops nothing."""

    name: str
    passed: bool
    summary: str
    failures: tuple[Failure, ...] = ()
    warning: bool = False

    @property
    def stops(self) -> bool:
        """Whether the list must not be touched."""
        return not self.passed and not self.warning

    @property
    def failing_rows(self) -> frozenset[int]:
        """Positions of all rows that fail for real; warnings aside."""
        return frozenset(p for f in self.failures if f.code not in WARNINGS for p in f.positions)


WARNINGS = frozenset({"mojibake"})
"""Failure codes that only warn."""

TOLERATED_ROWS = 10
"""Fewer rows that can't be read are left out, and stop no list."""

TOLERATED_SHARE = 0.001
"""Nor does a smaller share of them."""

_ENCODABLE_FORBIDDEN = XML_FORBIDDEN.pattern.replace("\ud800-\udfff", "")
"""Without lone surrogates: an Arrow-backed text can't hold them, nor can Arrow's regular expressions name them."""

ROW_REASONS = {
    "utf8": Reason.FORBIDDEN_CHARACTERS,
    "technical_fields": Reason.MISSING_TECHNICAL_FIELD,
    "unique_recipients": Reason.DUPLICATE_ADDRESS,
}
"""Why a row that fails a check is taken out."""


def row_checks(contract: ListSchema) -> dict[str, pa.DataFrameSchema]:
    """The checks that need nothing but the rows and the configuration, as pandera schemas by name."""
    to_arrow = [RECIPIENT_ID, ADDRESS, *contract.list_columns]
    opt_in_column = contract.technical_column(TechnicalField.OPT_IN_ID)
    entity_type_column = contract.technical_column(TechnicalField.ENTITY_TYPE)
    return {
        "utf8": _schema({column: [_legal_characters(), _no_mojibake()] for column in to_arrow}),
        "technical_fields": _schema(
            {contract.technical_column(name): [_non_empty()] for name in TechnicalField}
            | {entity_type_column: [_non_empty(), _one_of("known_entity_type", [kind.value for kind in EntityType])]}
            | {contract.technical_column(TechnicalField.MEDIA_TYPE): [_non_empty(), _email_only()]}
        ),
        "single_consent": _schema(
            {
                opt_in_column: [_one_of("the_lists_own_opt_in", [contract.opt_in_id])],
                "opt_in_id": [_one_of("the_lists_own_opt_in", [contract.opt_in_id])],
                "consent_kind": [_one_of("consent_granted", sorted(GRANTING))],
                "consent_event_id": [_non_empty("consent_evidence")],
            }
        ),
        "unique_recipients": _schema({column: [_unique()] for column in (RECIPIENT_ID, ADDRESS)}),
    }


def check_snapshot(frame: pd.DataFrame, contract: ListSchema, context: CheckContext) -> list[CheckOutcome]:
    """Every check of `CHECK_NAMES` over a snapshot's rows, in that order."""
    outcomes = {name: run_schema(name, schema, frame) for name, schema in row_checks(contract).items()}
    outcomes["not_suppressed"] = run_schema("not_suppressed", _NOT_SUPPRESSED, _with_reason(frame, context))
    outcomes["list_attributes"] = check_list_attributes(contract, context.vendor_attributes)
    outcomes["plausible_size"] = check_size(entity_counts(frame), contract.limits, context)
    return [outcomes[name] for name in CHECK_NAMES]


def run_schema(name: str, schema: pa.DataFrameSchema, frame: pd.DataFrame) -> CheckOutcome:
    """Validate lazily and translate pandera's failure cases, leaving their values (people's data) behind."""
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
    """Where, what and which. For a column that isn't there, pandera puts its name where values of people stand else."""
    is_missing = cases["check"].astype("str") == "column_in_dataframe"
    column = cases["column"].astype("str").where(~is_missing, cases["failure_case"].astype("str"))
    return pd.DataFrame({"check": cases["check"].astype("str"), "column": column, "index": cases["index"]})


def check_list_attributes(contract: ListSchema, vendor_attributes: Collection[str]) -> CheckOutcome:
    """Every attribute that will be sent exists in the vendor's list, and none of them is the system's own."""
    spellings = name_spellings(vendor_attributes)
    unknown = [name for name in contract.list_attributes if normalize_text(name) not in spellings]
    read_only = [name for name in contract.list_attributes if name.casefold() in READ_ONLY_ATTRIBUTES]
    if not unknown and not read_only:
        return CheckOutcome("list_attributes", True, f"the list has all {len(contract.list_attributes)} attributes")
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
    """All but a few rows have texts that are UTF-8 in the CRM; the others are left out.

    Args:
        left_out: how many rows aren't sent for that.
        sent: how many are.
        columns: in how many rows each column isn't UTF-8, if that is known.
    """
    if not left_out:
        return CheckOutcome("utf8", True, "every text is UTF-8 in the CRM")
    where = "".join(f"; {name} in {format_row_count(rows)}" for name, rows in (columns or {}).items())
    stops = left_out >= TOLERATED_ROWS and left_out >= TOLERATED_SHARE * (left_out + sent)
    return CheckOutcome(
        "utf8",
        False,
        f"{format_row_count(left_out)} left out for text that isn't UTF-8 in the CRM (latin-1, perhaps){where}; "
        "write those values again as UTF-8. `campaign-sync why` tells of each person",
        warning=not stops,
    )


def merge_outcomes(outcome: CheckOutcome, further: CheckOutcome) -> CheckOutcome:
    """One outcome of two findings of one check; that of another check stays as it is."""
    if outcome.name != further.name or further.passed:
        return outcome
    told = further.summary if outcome.passed else f"{further.summary}; {outcome.summary}"
    warning = not (outcome.stops or further.stops)
    return replace(outcome, passed=False, summary=told, warning=warning)


_SHOWN_WORDS = 5

_NOBODYS_NAME = re.compile(r"[^\W\d][\w .:/-]{0,31}")
"""A word of the CRM's own. What is anything else, or stands in few rows, may be about somebody and isn't shown."""

_REMEDIES = {
    "kind": "declare the kind in crm.consent_kinds (granted, withdrawn or ignored)",
    "entity_type": "write contact, lead or account",
    "opt_in_id": "write an opt-in that the table opt_in defines, or define it there",
    "occurred_at": "write a time as 2026-03-01 12:00:00",
}


def check_consents(read: ConsentEventCounts) -> CheckOutcome:
    """The consent events that say something about a list's opt-in are understood; all but a few.

    Who is concerned by one that isn't is out of the list already: many would empty it in parts, and tell of a change in
    the CRM that somebody has to look at.
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
        f"{unclear} of {read.rows} consent events can't be understood, and whom they are about is kept out "
        f"({'; '.join(parts)}){cleaned}"
    )
    stops = unclear >= TOLERATED_ROWS and unclear >= TOLERATED_SHARE * read.rows
    return CheckOutcome("consents", False, summary, warning=not stops)


def _words(read: ConsentEventCounts, name: str) -> str:
    often = sorted(((count, word) for (column, word), count in read.words.items() if column == name), reverse=True)
    shown = [
        f"“{word}” {count} times"
        for count, word in often[:_SHOWN_WORDS]
        if count >= TOLERATED_ROWS and _NOBODYS_NAME.fullmatch(word)
    ]
    return f" ({', '.join(shown)})" if shown else ""


def entity_counts(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows of a snapshot are about each entity type."""
    return {str(kind): int(count) for kind, count in rows["entity_type"].value_counts().sort_index().items()}


def check_size(by_entity_type: Mapping[str, int], limits: SizeLimits, context: CheckContext) -> CheckOutcome:
    """The number of rows keeps the list's limits. A leap against a baseline may be accepted, absolute limits never."""
    rows = sum(by_entity_type.values())
    beyond, leaps = limit_violations(rows, limits), change_violations(by_entity_type, limits, context.baselines)
    if beyond or (leaps and not context.size_accepted):
        return CheckOutcome("plausible_size", False, "; ".join(beyond or leaps))
    if leaps:
        accepted = f"accepted this once by {context.size_accepted}"
        return CheckOutcome("plausible_size", True, f"{'; '.join(leaps)}; {accepted}")
    against = " and ".join(f"{each.rows} ({each.origin})" for each in context.baselines)
    return CheckOutcome(
        "plausible_size", True, f"{rows} rows, measured against {against or 'an empty list without history'}"
    )


def _with_reason(frame: pd.DataFrame, context: CheckContext) -> pd.DataFrame:
    rows = frame.reindex(columns=["entity_type", "entity_id", "consent_at", ADDRESS])  # other checks miss columns
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
    """No other media type; one that is missing is a failure of its own."""

    def passes(values: "pd.Series[str]") -> "pd.Series[bool]":
        return values.isin([each for each in values.unique() if not each.strip() or is_email(each)])

    return _check("not_email", passes)


def _none_is(code: str) -> pa.Check:
    return _check(code, lambda values: values != code)


def _unique() -> pa.Check:
    return _check("repeated", _differs_from_all_before, ignore_na=False)


def _differs_from_all_before(values: "pd.Series[str]") -> "pd.Series[bool]":
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
            )
        ]
    }
)
