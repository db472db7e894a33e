"""The vendor's answers have a meaning of ours."""

from campaign_sync.domain.rejection import (
    ACCEPTED,
    ALREADY_STORED,
    GENERAL_ERROR,
    VENDOR_REASONS,
    Reason,
    describe_reason,
)


def test_every_documented_refusal_of_the_vendor_has_a_reason_of_its_own() -> None:
    assert sorted(VENDOR_REASONS) == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(VENDOR_REASONS.values())) == 7
    assert ACCEPTED not in VENDOR_REASONS
    assert (VENDOR_REASONS[ALREADY_STORED], VENDOR_REASONS[GENERAL_ERROR]) == (
        Reason.ALREADY_IN_LIST,
        Reason.VENDOR_ERROR,
    )


def test_every_reason_has_a_meaning_and_one_of_tomorrow_is_told_as_it_stands() -> None:
    assert len({describe_reason(reason) for reason in Reason}) == len(Reason)
    assert all(describe_reason(reason) != reason.replace("_", " ") for reason in Reason)
    assert describe_reason("moved_to_mars") == "moved to mars"
