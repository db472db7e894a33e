"""When a replacement needs the approval of a plan, and which approvals hold for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.approval import ApprovedPlan, ListMoment, check_approval, with_other_remedy
from campaign_sync.domain.approval_mode import ApprovalMode
from campaign_sync.domain.size_limits import ApprovedSize
from campaign_sync.localization.catalogs import translate

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
NEW = ListMoment(11, "settings", None)
PROVEN = replace(NEW, proof_id="proof")
APPROVED = ApprovedPlan("plan", NEW, 500, {"contact": 1000}, {"contact": 1010}, "snapshot", "anna", "seen", NOON)


def passes(mode: ApprovalMode, moment: ListMoment, in_list: int, *approved: ApprovedPlan, sent: str = "other") -> bool:
    outcome, plan = check_approval(mode, moment, in_list, sent, approved, None, "approve it")
    assert plan is None or plan in approved
    assert outcome.passed or outcome.stops
    assert outcome.passed or outcome.summary.endswith("; approve it")
    return outcome.passed


def test_first_asks_once_for_a_list_that_others_have_filled() -> None:
    assert not passes("first", NEW, 500)
    assert passes("first", NEW, 500, APPROVED)
    assert passes("first", NEW, 0), "an empty list"
    assert passes("first", PROVEN, 500), "sign-ups after a proof, or an upgrade"


def test_an_approval_is_void_once_others_have_filled_in_more() -> None:
    assert passes("first", NEW, 510, APPROVED)
    assert not passes("first", NEW, 511, APPROVED)
    assert passes("first", NEW, 20, APPROVED)


@pytest.mark.parametrize(
    "other", [replace(NEW, recipient_list_id=12), replace(NEW, settings_digest="changed")], ids=["list", "settings"]
)
def test_an_approval_is_void_for_another_list_or_other_settings(other: ListMoment) -> None:
    assert not passes("first", other, 500, APPROVED)
    assert not passes("always", other, 500, APPROVED, sent="snapshot")


def test_always_asks_for_the_very_rows_and_after_every_proof() -> None:
    assert not passes("always", NEW, 0)
    assert not passes("always", NEW, 0, APPROVED)
    assert passes("always", NEW, 0, APPROVED, sent="snapshot")
    assert not passes("always", PROVEN, 0, APPROVED, sent="snapshot")


def test_a_void_approval_is_named_while_it_could_have_held() -> None:
    def reason(moment: ListMoment) -> str:
        return check_approval("first", moment, 500, None, [APPROVED], None, "approve it")[0].summary

    assert "approval by anna is void" in reason(replace(NEW, settings_digest="changed"))
    assert "void" not in check_approval("always", PROVEN, 0, None, [APPROVED], None, "approve it")[0].summary


def test_another_remedy_takes_the_place_of_how_to_approve() -> None:
    refused, _ = check_approval("first", NEW, 500, None, (), None, "see it; approve it")
    summary = with_other_remedy(refused, "by the job").summary
    assert summary.endswith("replaced for the first time; by the job")
    assert translate(summary, "de").endswith("die zum ersten Mal ersetzt würden; by the job")
    passed, _ = check_approval("never", NEW, 500, None, (), None, "approve it")
    assert with_other_remedy(passed, "by the job") == passed


def test_never_asks_for_nothing() -> None:
    assert passes("never", NEW, 500)


def test_the_newest_approval_is_named() -> None:
    later = replace(APPROVED, approved_by="ben", approved_at=NOON + timedelta(hours=1))
    assert "ben: seen" in check_approval("first", NEW, 5, None, [APPROVED, later], None, "")[0].summary


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_an_approved_size_holds_for_about_as_many_rows(planned: int, rows: int) -> None:
    allowed = ApprovedSize({"contact": planned}, "plan", "anna: seen").allows({"contact": rows})
    assert allowed is (abs(planned - rows) <= 10 or 100 * abs(planned - rows) <= planned)


def test_an_approved_size_holds_for_each_entity_type() -> None:
    approved = ApprovedSize({"contact": 1000, "lead": 500}, "plan", "anna: seen")
    assert approved.allows({"contact": 1010, "lead": 490})
    assert not approved.allows({"contact": 500, "lead": 1000}), "as many in total"
    assert not approved.allows({"contact": 1000, "lead": 500, "account": 11})
