"""The tests of the rules by which a consent counts, for events and states alike, and of each alone."""

from datetime import UTC, datetime, timedelta

import pytest

from campaign_sync.crm.testing.reads import granted, select, suppressed
from campaign_sync.crm.testing.snapshot_tests import contact
from campaign_sync.crm.testing.under_test import NEWS, NOON, OFFERS, Capability, Consent, CrmUnderTest
from campaign_sync.domain.consent_state import UNDATED_GRANT
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.suppression import SuppressionKind

ANNA, BEN = contact("c1", "anna@example.org"), contact("c2", "ben@example.org")

_YEAR = timedelta(days=365)


def _suppressed_ids(under_test: CrmUnderTest, kind: SuppressionKind, opt_in_id: str = NEWS) -> set[str]:
    frame = suppressed(under_test)
    return set(frame[(frame["kind"] == kind) & (frame["opt_in_id"] == opt_in_id)]["entity_id"])


class ConsentTests:
    """Who may be written to."""

    def test_a_person_without_a_consent_is_selected_without_a_consent(self, under_test: CrmUnderTest) -> None:
        others = [Consent(BEN, opt_in.opt_in_id) for opt_in in under_test.opt_ins[1:]]
        under_test.set_up([ANNA, BEN], *others)
        frame = select(under_test)
        assert frame["entity_id"].tolist() == ["c1", "c2"]
        assert frame[["consent_event_id", "consent_kind", "consent_at"]].isna().all(axis=None)
        assert granted(under_test) == set()

    def test_a_grant_counts_for_its_opt_in_and_its_person_only(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA, BEN], Consent(ANNA))
        assert granted(under_test) == {"c1"}
        for opt_in in under_test.opt_ins[1:]:
            assert granted(under_test, opt_in.opt_in_id) == set()
        if Capability.DATES in under_test.capabilities:
            assert select(under_test)["consent_at"].tolist()[0] == NOON

    def test_a_withdrawal_is_selected_as_such_and_suppressed(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA, BEN], Consent(ANNA), Consent(BEN))
        granted(under_test)
        under_test.add_consents([Consent(ANNA, kind="withdrawn", at=NOON + timedelta(days=1))])
        assert granted(under_test) == {"c2"}
        assert _suppressed_ids(under_test, SuppressionKind.UNSUBSCRIBE) == {"c1"}

    def test_a_withdrawal_of_another_opt_in_changes_nothing(self, under_test: CrmUnderTest) -> None:
        under_test.require_opt_ins()
        under_test.set_up([ANNA], Consent(ANNA), Consent(ANNA, OFFERS, "withdrawn", NOON + timedelta(days=1)))
        assert granted(under_test) == {"c1"}
        assert _suppressed_ids(under_test, SuppressionKind.UNSUBSCRIBE) == set()

    def test_a_dated_grant_newer_than_the_withdrawal_brings_the_person_back(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.DATES)
        under_test.set_up([ANNA], Consent(ANNA, kind="withdrawn"))
        assert granted(under_test) == set()
        under_test.add_consents([Consent(ANNA, at=NOON + timedelta(days=1))])
        assert granted(under_test) == {"c1"}
        assert suppressed(under_test).empty

    def test_a_grant_in_the_future_grants_nothing(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.DATES)
        under_test.set_up([ANNA], Consent(ANNA, at=datetime.now(UTC) + _YEAR))
        assert granted(under_test) == set()

    def test_a_withdrawal_in_the_future_counts(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.DATES)
        under_test.set_up([ANNA], Consent(ANNA, kind="withdrawn", at=datetime.now(UTC) + _YEAR))
        assert granted(under_test) == set()
        assert _suppressed_ids(under_test, SuppressionKind.UNSUBSCRIBE) == {"c1"}

    def test_an_undated_withdrawal_counts(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.UNDATED)
        under_test.set_up([ANNA], Consent(ANNA, kind="withdrawn", at=None))
        assert granted(under_test) == set()
        assert _suppressed_ids(under_test, SuppressionKind.UNSUBSCRIBE) == {"c1"}

    def test_a_word_that_is_not_understood_never_grants(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.ANY_WORD)
        under_test.set_up([ANNA, BEN], Consent(ANNA, kind="perhaps"), Consent(BEN, kind=" Granted "))
        assert granted(under_test) == {"c2"}
        assert _suppressed_ids(under_test, SuppressionKind.UNCLEAR) == {"c1"}
        with under_test.open().snapshot() as snapshot:
            assert dict(snapshot.consent_rows(NEWS).unclear) == {"kind": 1}

    def test_a_persons_own_history_agrees(self, under_test: CrmUnderTest) -> None:
        under_test.require_opt_ins()
        under_test.set_up([ANNA], Consent(ANNA), Consent(ANNA, OFFERS, "withdrawn"))
        with under_test.open().snapshot() as snapshot:
            history = snapshot.consents(ANNA.entity)
            assert {opt_in_id: events[-1].kind.value for opt_in_id, events in history.items()} == {
                NEWS: "granted",
                OFFERS: "withdrawn",
            }
            assert snapshot.consents(Entity(EntityType.CONTACT, "gone")) == {}

    def test_consents_of_an_address_hold_for_everybody_who_has_it(self, under_test: CrmUnderTest) -> None:
        if not under_test.by_address:
            pytest.skip("consents belong to records")
        other = contact("c3", " ANNA@example.org")
        under_test.set_up([ANNA, BEN, other], Consent(ANNA), Consent(BEN))
        assert granted(under_test) == {"c1", "c2", "c3"}
        under_test.add_consents([Consent(other, kind="withdrawn", at=NOON + timedelta(days=1))])
        assert granted(under_test) == {"c2"}
        assert _suppressed_ids(under_test, SuppressionKind.UNSUBSCRIBE) == {"c1", "c3"}


class EventTests:
    """Consents that are kept as a history."""

    def test_the_newest_event_decides_in_whatever_order_they_come(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.EVENTS)
        at = [NOON + timedelta(days=number) for number in range(3)]
        under_test.set_up(
            [ANNA, BEN],
            *(Consent(ANNA, at=at[2]), Consent(ANNA, kind="withdrawn", at=at[1]), Consent(ANNA, at=at[0])),
            *(Consent(BEN, kind="withdrawn", at=at[2]), Consent(BEN, at=at[0]), Consent(BEN, at=at[1])),
        )
        assert granted(under_test) == {"c1"}
        assert select(under_test)["consent_at"].tolist() == [at[2], at[2]]
        with under_test.open().snapshot() as snapshot:
            assert [event.occurred_at for event in snapshot.consents(ANNA.entity)[NEWS]] == at

    def test_at_the_same_moment_a_withdrawal_decides(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.EVENTS)
        under_test.set_up([ANNA], Consent(ANNA), Consent(ANNA, kind="withdrawn"), Consent(ANNA, kind="confirmed"))
        assert granted(under_test) == set()

    def test_an_undated_grant_in_a_history_grants_nothing(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.EVENTS, Capability.UNDATED)
        under_test.set_up([ANNA], Consent(ANNA, at=None))
        assert granted(under_test) == set()


def _require_states(under_test: CrmUnderTest, *capabilities: Capability) -> None:
    under_test.require(*capabilities)
    if Capability.EVENTS in under_test.capabilities:
        pytest.skip("consents are a history")


class StateTests:
    """Consents that are kept as a state, and what becomes of it from one read to the next."""

    def test_an_undated_grant_is_older_than_every_withdrawal(self, under_test: CrmUnderTest) -> None:
        _require_states(under_test, Capability.UNDATED)
        under_test.set_up([ANNA], Consent(ANNA, at=None))
        assert granted(under_test) == {"c1"}
        assert select(under_test)["consent_at"].tolist() == [UNDATED_GRANT]

    def test_a_state_that_flips_to_withdrawn_counts_at_once(self, under_test: CrmUnderTest) -> None:
        _require_states(under_test, Capability.UNDATED)
        under_test.set_up([ANNA], Consent(ANNA, at=None))
        assert granted(under_test) == {"c1"}
        under_test.add_consents([Consent(ANNA, kind="withdrawn", at=None)])
        assert granted(under_test) == set()

    def test_an_undated_state_that_flips_back_is_never_newer_than_the_withdrawal(
        self, under_test: CrmUnderTest
    ) -> None:
        _require_states(under_test, Capability.UNDATED)
        under_test.set_up([ANNA], Consent(ANNA, kind="withdrawn", at=None))
        assert granted(under_test) == set()
        under_test.add_consents([Consent(ANNA, at=None)])
        if granted(under_test):
            assert select(under_test)["consent_at"].tolist() == [UNDATED_GRANT]

    def test_a_state_that_vanished_is_no_consent(self, under_test: CrmUnderTest) -> None:
        _require_states(under_test, Capability.REMOVABLE_CONSENTS)
        under_test.set_up([ANNA, BEN], Consent(ANNA), Consent(BEN))
        assert granted(under_test) == {"c1", "c2"}
        under_test.remove_consent(Consent(ANNA))
        assert granted(under_test) == {"c2"}
