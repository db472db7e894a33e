"""The checks of a snapshot's rows as pandera schemas."""

from collections.abc import Callable, Collection, Mapping

import pandas as pd
import pandera.pandas as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

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


def run_schema(name: str, schema: pa.DataFrameSchema, frame: pd.DataFrame) -> CheckOutcome:
    """Run a row check. The outcome has pandera's failure cases without their values, which are personal data."""
    try:
        schema.validate(frame.reset_index(drop=True), lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return CheckOutcome(name, passed=True, summary=Message("all {rows} rows pass", rows=len(frame)))
    failures = tuple(
        Failure(str(code), str(column), tuple(int(i) for i in group["index"].dropna()))
        for (code, column), group in _with_missing_columns(cases).groupby(["check", "column"], dropna=False)
    )
    warning = bool(failures) and all(failure.code in WARNINGS for failure in failures)
    summary = describe_failures(failures)
    return CheckOutcome(name, passed=False, summary=summary, failures=failures, warning=warning)


def _with_missing_columns(cases: pd.DataFrame) -> pd.DataFrame:
    """Return check, column and index of each case. Pandera names a missing column where it has values otherwise."""
    is_missing = cases["check"].astype("str") == "column_in_dataframe"
    column = cases["column"].astype("str").where(~is_missing, cases["failure_case"].astype("str"))
    return pd.DataFrame({"check": cases["check"].astype("str"), "column": column, "index": cases["index"]})


def _schema(columns: Mapping[str, list[pa.Check]]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(checks=checks, nullable=True) for name, checks in columns.items()})


def _check(code: str, passes: "Callable[[pd.Series[str]], pd.Series[bool]]", *, ignore_na: bool = True) -> pa.Check:
    return pa.Check(passes, name=code, error=code, ignore_na=ignore_na)


def _legal_characters() -> pa.Check:
    return _check(
        "forbidden_characters", lambda values: ~match_texts(values, _ENCODABLE_FORBIDDEN, has_forbidden_characters)
    )


def _no_mojibake() -> pa.Check:
    return _check(MOJIBAKE_CODE, lambda values: ~match_texts(values, MOJIBAKE.pattern, may_have_mojibake))


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


NOT_SUPPRESSED = _schema(
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
                Reason.ERASED,
            )
        ]
    }
)
"""The check of the reasons for which people may not be written to: no row may have any."""
