"""Erased people stay suppressed by their hashes alone, until they consent anew."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaign_sync.domain.erasure import ERASED_TYPE, NO_ERASURES, Erased, Erasure, ErasureKey, is_token
from campaign_sync.domain.instant import CLOCK_TOLERANCE
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.domain.suppression_reasons import suppression_reasons
from campaign_sync_tests.domain.people import ADDRESSES, crm_selection, populations, suppression, suppressions

SECRET = "an invented key of thirty-two characters"
KEY = ErasureKey(SECRET)
ERASED_AT = datetime(2026, 3, 2, 10, 0, 0, 5, tzinfo=UTC)
UNTIL = ERASED_AT + CLOCK_TOLERANCE
TIMES = [None, ERASED_AT, *(UNTIL + timedelta(microseconds=offset) for offset in (-1, 0, 1))]


def erasure(emails: Sequence[str], records: Sequence[str], at: datetime = ERASED_AT) -> Erasure:
    return Erasure("e", at, "privacy@example.org", "asked on paper", KEY.probe, KEY.subjects(emails, records))


def populations_with_times() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return a strategy for people whose consents are older than, as old as and newer than the erasure."""
    times = st.lists(st.sampled_from(TIMES), min_size=12, max_size=12)
    return st.tuples(populations(), times).map(
        lambda drawn: [{**row, "consent_at": at} for row, at in zip(*drawn, strict=False)]
    )


def persons() -> st.SearchStrategy[Erasure]:
    emails = st.lists(st.sampled_from([address for address in ADDRESSES if address]), max_size=2)
    records = st.lists(
        st.sampled_from([f"{kind}:{n}" for kind in ("contact", "lead") for n in range(1, 6)]), max_size=3
    )
    return st.builds(erasure, emails, records)


@given(populations_with_times(), suppressions(), persons(), st.booleans())
def test_erased_people_are_out_without_a_newer_grant_and_all_others_are_judged_as_before(
    people: list[dict[str, Any]], entries: list[dict[str, Any]], person: Erasure, hidden: bool
) -> None:
    frame, known, erased = crm_selection(people), suppression(entries), Erased.of(KEY, [person])
    before = split_by_consent(frame, Suppressed.of(known, "newsletter", NO_ERASURES))
    after = split_by_consent(frame, Suppressed.of(erased.hide(known) if hidden else known, "newsletter", erased))

    subjects = {subject.digest for subject in person.subjects}

    def is_out(row: dict[str, Any]) -> bool:
        digests = KEY.subjects([row["email"]] if row["email"] else [], [f"{row['entity_type']}:{row['entity_id']}"])
        newer = row["consent_at"] is not None and row["consent_at"] > person.until
        granted = row["consent_kind"] in ("granted", "confirmed")
        return bool(subjects & {digest for _, digest in digests}) and not (granted and newer)

    out = {f"{row['entity_type']}:{row['entity_id']}" for row in people if is_out(row)}

    def outcomes(split: Any) -> dict[str, str]:
        reasons = [*["selected"] * len(split.rows), *split.rejections["reason"]]
        rows = pd.concat([split.rows, split.rejections])
        keys = rows["entity_type"] + ":" + rows["entity_id"]
        return dict(zip(keys, reasons, strict=True))

    others = {record: reason for record, reason in outcomes(after).items() if reason != Reason.ERASED}
    assert others == {record: reason for record, reason in outcomes(before).items() if record not in out}
    named = after.rejections.loc[after.rejections["reason"] == Reason.ERASED.value, "entity_id"]
    assert sorted(named) == sorted(KEY.of_record(record) for record in out)


@given(suppressions(), persons())
def test_a_stored_frame_names_no_erased_people(entries: list[dict[str, Any]], person: Erasure) -> None:
    known, erased = suppression(entries), Erased.of(KEY, [person])
    hidden = erased.hide(known)
    pd.testing.assert_frame_equal(erased.hide(hidden), hidden)
    pd.testing.assert_frame_equal(NO_ERASURES.hide(known), known)
    for row in hidden.to_dict("records"):
        assert (
            not isinstance(row["address"], str) or is_token(row["address"]) or erased.at(address=row["address"]) is None
        )
        if isinstance(row["entity_id"], str) and row["entity_type"] != ERASED_TYPE:
            assert erased.at(record=f"{row['entity_type']}:{row['entity_id']}") is None


@given(
    st.timedeltas(-timedelta(hours=1), timedelta(hours=1)),
    st.timedeltas(-CLOCK_TOLERANCE, CLOCK_TOLERANCE),
    st.booleans(),
)
@example(timedelta(0), CLOCK_TOLERANCE, True)
@example(timedelta(0), CLOCK_TOLERANCE, False)
def test_a_grant_of_before_the_erasure_is_never_a_new_persons_whatever_the_clock_of_the_crm_says(
    after: timedelta, fast: timedelta, by_address: bool
) -> None:
    subjects = (["anna@example.org"], []) if by_address else ([], ["contact:1"])
    erased, dated = Erased.of(KEY, [erasure(*subjects)]), ERASED_AT + after + fast
    row = {"email": "anna@example.org", "entity_type": "contact", "entity_id": "1", "consent_at": dated}
    split = split_by_consent(crm_selection([row]), Suppressed.of(suppression([]), "newsletter", erased))
    is_out = erased.ends(dated, "anna@example.org", "contact:1")
    assert split.rejections["reason"].tolist() == [Reason.ERASED.value] * is_out
    explained = suppression_reasons(suppression([]), "newsletter", "contact:1", "anna@example.org", dated, erased)
    assert [(reason.reason, reason.since) for reason in explained] == [(Reason.ERASED, ERASED_AT)] * is_out
    assert is_out or after > timedelta(0), "it was given before"
    assert not is_out or after <= 2 * CLOCK_TOLERANCE, "it is of a new person"


def test_all_forms_of_an_address_are_known_and_the_newest_erasure_counts() -> None:
    later = ERASED_AT + timedelta(days=1)
    person = erasure(["Zoë@München.example", "ZOË@example.org", "İnci@example.org"], ["lead:7"])
    erased = Erased.of(KEY, [erasure(["zoë@example.org"], [], later), person])
    assert erased.at(address="zoë@xn--mnchen-3ya.example") == erased.at(record="lead:7") == ERASED_AT
    assert erased.at(address="zoë@example.org", record="lead:7") == later
    assert erased.at(address="i̇nci@example.org") == ERASED_AT  # as an earlier version sent it
    assert erased.at(address="anna@example.org", record="contact:7") is None
    assert not NO_ERASURES
    assert NO_ERASURES.at(address="zoë@example.org") is None


def test_a_person_who_was_erased_and_consents_anew_is_judged_by_what_was_kept_of_them() -> None:
    erased = Erased.of(KEY, [erasure(["anna@example.org"], ["contact:1"])])
    token = erased.address_token("anna@example.org")
    left = [{"kind": "unsubscribe", "address": token, "since": ERASED_AT + timedelta(hours=1)}]
    for hours, reasons in [(-1, [Reason.UNSUBSCRIBED, Reason.ERASED]), (0.5, [Reason.UNSUBSCRIBED]), (2, [])]:
        consent_at = ERASED_AT + timedelta(hours=hours)
        explained = suppression_reasons(
            suppression(left), "newsletter", "contact:1", "anna@example.org", consent_at, erased
        )
        assert [reason.reason for reason in explained] == reasons
        split = split_by_consent(
            crm_selection([{"consent_at": consent_at}]), Suppressed.of(suppression(left), "newsletter", erased)
        )
        assert split.rejections["reason"].tolist() == [reason.value for reason in reasons[-1:]]


def test_hashes_never_change_and_need_their_key() -> None:
    assert KEY.of_address("anna@example.org") == ErasureKey(SECRET).of_address("anna@example.org") == ADDRESS_HASH
    assert KEY.of_record("contact:1") == RECORD_HASH
    other = ErasureKey(SECRET + "!")
    hashes = {made(value) for key in (KEY, other) for made in (key.of_address, key.of_record) for value in ("", "a")}
    assert len(hashes | {KEY.probe, other.probe}) == 10
    with pytest.raises(ValueError, match="at least 32 characters"):
        ErasureKey("a" * 31)


ADDRESS_HASH = "2ffef5cab7b08eb668261fd54e69a721"
RECORD_HASH = "ac8a34d137bc8b1cec2487a03e8904bb"
