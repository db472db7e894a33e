"""Suppression reasons of a person agree with the decision about whole lists."""

from datetime import UTC, datetime
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.erasure import NO_ERASURES, Erased, Erasure, ErasureKey
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.suppression_reasons import SuppressionReason, suppression_reasons
from campaign_sync_tests.domain.people import ADDRESSES, suppression, suppressions

JANUARY, MARCH = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)


def dated() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return a strategy for suppressions with dates, and withdrawals with addresses."""
    more = st.fixed_dictionaries(
        {"since": st.sampled_from([JANUARY, MARCH]), "by": st.sampled_from([*ADDRESSES[:2], None])}
    )

    def with_dates(drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        return [
            {"address": extra["by"], **entry, "since": extra["since"]} for entry, extra in zip(*drawn, strict=False)
        ]

    return st.tuples(suppressions(), st.lists(more, min_size=6, max_size=6)).map(with_dates)


@given(dated(), st.integers(1, 30).map(str), st.sampled_from(ADDRESSES[:2]), st.sampled_from([JANUARY, MARCH]))
def test_a_person_has_suppression_reasons_exactly_if_they_are_suppressed(
    entries: list[dict[str, Any]], entity_id: str, address: str, consent_at: datetime
) -> None:
    known = suppression(entries)
    person = pd.DataFrame({"entity_type": ["contact"], "entity_id": [entity_id], "consent_at": [consent_at]})

    explained = suppression_reasons(known, "newsletter", f"contact:{entity_id}", address, consent_at, NO_ERASURES)

    reason = Suppressed.of(known, "newsletter", NO_ERASURES).reasons(person, pd.Series([address], dtype="str")).iloc[0]
    assert (reason in [entry.reason for entry in explained]) if isinstance(reason, str) else not explained


def test_a_suppression_reason_has_its_date_source_and_entity() -> None:
    known = suppression(
        [
            {"kind": "bounce", "address": "anna@example.org", "since": JANUARY, "source": "optimizely:bounces"},
            {"kind": "unsubscribe", "address": "anna@example.org", "entity_type": "lead", "entity_id": "7",
             "opt_in_id": "newsletter", "since": MARCH},
            {"kind": "unsubscribe", "address": "anna@example.org", "entity_type": "lead", "entity_id": "7",
             "opt_in_id": "events", "since": MARCH},
        ]
    )  # fmt: skip
    bounce = SuppressionReason(Reason.BOUNCED, JANUARY, "optimizely:bounces", None)
    shared = SuppressionReason(Reason.CONSENT_WITHDRAWN, MARCH, None, "lead:7")
    own = SuppressionReason(Reason.UNSUBSCRIBED, MARCH, None, "lead:7")

    assert suppression_reasons(known, "newsletter", "contact:1", "anna@example.org", JANUARY, NO_ERASURES) == [
        shared,
        bounce,
    ]
    assert suppression_reasons(known, "newsletter", "lead:7", "anna@example.org", JANUARY, NO_ERASURES) == [
        own,
        bounce,
    ]
    assert suppression_reasons(known, "newsletter", "contact:1", "anna@example.org", None, NO_ERASURES) == [bounce]
    assert suppression_reasons(known, "newsletter", "contact:1", None, JANUARY, NO_ERASURES) == []
    assert suppression_reasons(suppression([]), "newsletter", None, "anna@example.org", None, NO_ERASURES) == []


def test_what_a_person_withdrew_before_the_erasure_is_their_own() -> None:
    key = ErasureKey("k" * 32)
    subjects = key.subjects(["anna@example.org"], ["contact:1"])
    erased = Erased.of(key, [Erasure("e", MARCH, "shell", "asked", key.probe, subjects)])
    withdrawal = {"kind": "unsubscribe", "entity_type": "contact", "entity_id": "1", "opt_in_id": "newsletter"}
    known = suppression([{**withdrawal, "address": "anna@example.org", "since": JANUARY}])

    reasons = suppression_reasons(known, "newsletter", "contact:1", "anna@example.org", None, erased)

    assert [(reason.reason, reason.entity_key) for reason in reasons] == [
        (Reason.ERASED, None),
        (Reason.UNSUBSCRIBED, "contact:1"),
    ]
