"""The checks of a snapshot's rows: conditions on the values of single columns."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.arrow_text import match_texts, to_arrow
from campaign_sync.domain.checks import MOJIBAKE as MOJIBAKE_CODE
from campaign_sync.domain.checks import WARNINGS, CheckOutcome, Failure, ListSchema, describe_failures
from campaign_sync.domain.consent import GRANTING, is_email
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.message import Message
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.text import MOJIBAKE, XML_FORBIDDEN
from campaign_sync.domain.text_columns import has_forbidden_characters, may_have_mojibake

_ENCODABLE_FORBIDDEN = XML_FORBIDDEN.pattern.replace("\ud800-\udfff", "")
"""Without lone surrogates, which Arrow's texts can't contain and Arrow's regular expressions can't name."""

MISSING_COLUMN = "column_in_dataframe"
"""The failure code of a column that has to be checked and isn't there."""


@dataclass(frozen=True)
class Condition:
    """What every value of a column must fulfil."""

    code: str
    """The failure code of values that don't."""
    holds: "Callable[[pd.Series[str]], pd.Series[bool]]"
    """Says for each value whether it does."""
    ignores_missing: bool = True
    """Whether missing values aren't examined, and fulfil it."""

    def failing(self, values: "pd.Series[str]") -> tuple[int, ...]:
        """Return the positions of the values that don't fulfil it, in a column that is indexed by position."""
        examined = values.dropna() if self.ignores_missing and values.hasnans else values
        holds = self.holds(examined).fillna(False).astype(bool)  # what isn't known to hold doesn't
        return () if holds.all() else tuple(map(int, examined.index[~holds]))


RowCheck = Mapping[str, Sequence[Condition]]
"""The conditions of a check, by column."""


def row_checks(list_schema: ListSchema) -> dict[str, RowCheck]:
    """Return the checks that need only the rows and the configuration, by name."""
    to_arrow = [RECIPIENT_ID, ADDRESS, *list_schema.list_columns]
    opt_in_column = list_schema.technical_column(TechnicalField.OPT_IN_ID)
    entity_type_column = list_schema.technical_column(TechnicalField.ENTITY_TYPE)
    return {
        "utf8": {column: [_legal_characters(), _no_mojibake()] for column in to_arrow},
        "technical_fields": {list_schema.technical_column(name): [_non_empty()] for name in TechnicalField}
        | {entity_type_column: [_non_empty(), _one_of("known_entity_type", [kind.value for kind in EntityType])]}
        | {list_schema.technical_column(TechnicalField.MEDIA_TYPE): [_non_empty(), _email_only()]},
        "single_consent": {
            opt_in_column: [_one_of("the_lists_own_opt_in", [list_schema.opt_in_id])],
            "opt_in_id": [_one_of("the_lists_own_opt_in", [list_schema.opt_in_id])],
            "consent_kind": [_one_of("consent_granted", sorted(GRANTING))],
            "consent_event_id": [_non_empty("consent_evidence")],
        },
        "unique_recipients": {column: [_unique()] for column in (RECIPIENT_ID, ADDRESS)},
    }


def run_row_check(name: str, check: RowCheck, frame: pd.DataFrame) -> CheckOutcome:
    """Run a row check. The outcome has the positions of failing rows, not their values: those are personal data."""
    by_column = _failures(check, frame.reset_index(drop=True))
    failures = tuple(sorted(by_column, key=lambda failure: (failure.code, failure.column)))
    if not failures:
        return CheckOutcome(name, passed=True, summary=Message("all {rows} rows pass", rows=len(frame)))
    warning = all(failure.code in WARNINGS for failure in failures)
    return CheckOutcome(name, passed=False, summary=describe_failures(failures), failures=failures, warning=warning)


def _failures(check: RowCheck, frame: pd.DataFrame) -> Iterator[Failure]:
    for column, conditions in check.items():
        if column not in frame:
            yield Failure(MISSING_COLUMN, column, ())
            continue
        for condition in conditions:
            if positions := condition.failing(frame[column]):
                yield Failure(condition.code, column, positions)


def _legal_characters() -> Condition:
    return Condition(
        "forbidden_characters", lambda values: ~match_texts(values, _ENCODABLE_FORBIDDEN, has_forbidden_characters)
    )


def _no_mojibake() -> Condition:
    return Condition(MOJIBAKE_CODE, lambda values: ~match_texts(values, MOJIBAKE.pattern, may_have_mojibake))


def _non_empty(code: str = "missing") -> Condition:
    return Condition(code, lambda values: values.fillna("").str.strip() != "", ignores_missing=False)


def _one_of(code: str, allowed: Collection[str]) -> Condition:
    return Condition(code, lambda values: values.isin(list(allowed)), ignores_missing=False)


def _email_only() -> Condition:
    """Refuse other media types; a missing one fails another condition."""

    def holds(values: "pd.Series[str]") -> "pd.Series[bool]":
        return values.isin([value for value in values.unique() if not value.strip() or is_email(value)])

    return Condition("not_email", holds)


def _none_is(code: str) -> Condition:
    return Condition(code, lambda values: values != code)


def _unique() -> Condition:
    return Condition("repeated", _is_first_occurrence, ignores_missing=False)


def _is_first_occurrence(values: "pd.Series[str]") -> "pd.Series[bool]":
    column = to_arrow(values)
    if pc.all(pc.greater(column[1:], column[:-1]), skip_nulls=False).as_py():  # sorted, as snapshots are
        return pd.Series(True, index=values.index)
    return ~values.duplicated(keep="first")


NOT_SUPPRESSED: RowCheck = {
    "suppressed_because": [
        _none_is(reason.value)
        for reason in (
            Reason.BOUNCED,
            Reason.UNSUBSCRIBED,
            Reason.CONSENT_WITHDRAWN,
            Reason.CONSENT_UNCLEAR,
            Reason.WITHDRAWAL_VANISHED,
            Reason.UNDATED_REGRANT,
            Reason.ERASED,
        )
    ]
}
"""The check of the reasons for which people may not be written to: no row may have any."""
