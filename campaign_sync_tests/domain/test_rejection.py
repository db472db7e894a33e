"""Reasons for the vendor's return codes."""

from campaign_sync.domain.rejection import (
    ACCEPTED,
    ALREADY_STORED,
    GENERAL_ERROR,
    VENDOR_REASONS,
    Reason,
    describe_reason,
)


def test_every_documented_return_code_of_the_vendor_has_its_own_reason() -> None:
    assert sorted(VENDOR_REASONS) == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(VENDOR_REASONS.values())) == 7
    assert ACCEPTED not in VENDOR_REASONS
    assert (VENDOR_REASONS[ALREADY_STORED], VENDOR_REASONS[GENERAL_ERROR]) == (
        Reason.ALREADY_IN_LIST,
        Reason.VENDOR_ERROR,
    )


def test_every_reason_has_a_description_and_an_unknown_one_is_returned_as_words() -> None:
    assert len({describe_reason(reason) for reason in Reason}) == len(Reason)
    assert all(describe_reason(reason) != reason.replace("_", " ") for reason in Reason)
    assert describe_reason("moved_to_mars") == "moved to mars"
