"""The tests of writing withdrawals and bounces into the CRM."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from campaign_sync.crm.port import CrmError, WriteBack
from campaign_sync.crm.testing.consent_tests import ANNA, BEN
from campaign_sync.crm.testing.reads import granted, suppressed
from campaign_sync.crm.testing.under_test import NEWS, NOON, OFFERS, Capability, Consent, CrmUnderTest, Person
from campaign_sync.domain.feedback import Bounce, BounceKind, CrmEntry, Unsubscribe
from campaign_sync.domain.suppression import SuppressionKind


def unsubscribe(address: str, *, days: float = 1, opt_in_id: str | None = NEWS, mandator: str = "nord") -> Unsubscribe:
    """Return an unsubscribe some days after `NOON`."""
    source = "optimizely:getUnsubscribes"
    return Unsubscribe(address, NOON + timedelta(days=days), mandator, source, opt_in_id=opt_in_id)


def bounce(address: str, kind: BounceKind = BounceKind.HARD, *, days: float = 1) -> Bounce:
    """Return a bounce some days after `NOON`."""
    return Bounce(address, NOON + timedelta(days=days), "nord", "optimizely:getOutBounces", kind)


class WriteBackTests:
    """Withdrawals and bounces."""

    def test_an_unsubscribe_withdraws_its_consent_in_its_own_place_and_no_other(self, under_test: CrmUnderTest) -> None:
        others = [opt_in.opt_in_id for opt_in in under_test.opt_ins[1:]]
        under_test.set_up([ANNA, BEN], Consent(ANNA), *(Consent(ANNA, other) for other in others), Consent(BEN))
        result = under_test.open().record_unsubscribes([unsubscribe("anna@example.org")])
        assert result == WriteBack(written=1, already_known=0)
        assert sorted(under_test.withdrawn()) == [(under_test.subject(ANNA), NEWS)]
        assert granted(under_test) == {"c2"}
        for other in others:
            assert granted(under_test, other) == {"c1"}

    def test_the_same_unsubscribe_again_changes_nothing(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA], Consent(ANNA))
        under_test.open().record_unsubscribes([unsubscribe("anna@example.org")])
        before = sorted(under_test.withdrawn())
        for _ in range(2):
            result = under_test.open().record_unsubscribes([unsubscribe("anna@example.org")])
            assert result == WriteBack(written=0, already_known=1)
        assert sorted(under_test.withdrawn()) == before

    def test_an_unsubscribe_without_an_opt_in_withdraws_all_of_its_mandator(self, under_test: CrmUnderTest) -> None:
        under_test.require_opt_ins()
        under_test.set_up([ANNA], Consent(ANNA), Consent(ANNA, OFFERS), Consent(ANNA, "press"))
        under_test.open().record_unsubscribes([unsubscribe("anna@example.org", opt_in_id=None)])
        subject = under_test.subject(ANNA)
        assert sorted(under_test.withdrawn()) == [(subject, NEWS), (subject, OFFERS)]
        assert granted(under_test, "press") == {"c1"}

    def test_everybody_with_the_address_is_withdrawn(self, under_test: CrmUnderTest) -> None:
        same = Person(BEN.entity, " ANNA@Example.org")
        under_test.set_up([ANNA, same], Consent(ANNA), Consent(same))
        under_test.open().record_unsubscribes([unsubscribe("anna@example.org")])
        assert granted(under_test) == set()
        assert {subject for subject, _ in under_test.withdrawn()} == set(map(under_test.subject, [ANNA, same]))

    def test_an_unsubscribe_is_never_written_over_a_newer_grant(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.DATES)
        under_test.set_up([ANNA], Consent(ANNA, at=NOON + timedelta(days=2)))
        under_test.open().record_unsubscribes([unsubscribe("anna@example.org", days=1)])
        assert granted(under_test) == {"c1"}
        if Capability.EVENTS not in under_test.capabilities:
            assert sorted(under_test.withdrawn()) == []

    def test_an_unsubscribe_of_an_unknown_address_is_returned(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA], Consent(ANNA))
        result = under_test.open().record_unsubscribes([unsubscribe("unknown@example.org")])
        assert (result.written, result.unmatched) == (0, ("unknown@example.org",))
        assert granted(under_test) == {"c1"}

    def test_what_was_written_is_reported_entry_by_entry(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA, BEN], Consent(ANNA), Consent(BEN))
        entries: list[CrmEntry] = []

        def keep(written: Sequence[CrmEntry]) -> None:
            entries.extend(written)

        unsubscribes = [unsubscribe("anna@example.org"), unsubscribe("ben@example.org")]
        under_test.open().record_unsubscribes(unsubscribes, keep)
        assert {(entry.entity, entry.opt_in_id, entry.new) for entry in entries} == {
            (ANNA.entity, NEWS, True),
            (BEN.entity, NEWS, True),
        }
        assert len({entry.event_id for entry in entries}) == 2

    def test_what_the_crm_refuses_stays_pending_and_the_rest_is_written(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.REFUSES_SOME)
        under_test.set_up([ANNA, BEN], Consent(ANNA), Consent(BEN))
        unsubscribes = [unsubscribe("anna@example.org"), unsubscribe("ben@example.org")]
        with under_test.refusing_writes([ANNA.entity]):
            result = under_test.open().record_unsubscribes(unsubscribes)
        assert (result.written, result.unmatched) == (1, ("anna@example.org",))
        assert [(entry.feedback, entry.entity, entry.opt_in_id) for entry in result.refused] == [
            (unsubscribes[0], ANNA.entity, NEWS)
        ]
        assert sorted(under_test.withdrawn()) == [(under_test.subject(BEN), NEWS)]
        again = under_test.open().record_unsubscribes(unsubscribes)
        assert (again.written, again.already_known, again.unmatched, again.refused) == (1, 1, (), ())
        assert granted(under_test) == set()

    def test_an_unsubscribe_of_two_records_names_the_refused(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.REFUSES_SOME)
        same = Person(BEN.entity, " ANNA@Example.org")
        under_test.set_up([ANNA, same], Consent(ANNA), Consent(same))
        with under_test.refusing_writes([same.entity]):
            result = under_test.open().record_unsubscribes([unsubscribe("anna@example.org")])
        assert [(entry.entity, entry.opt_in_id) for entry in result.refused] == [(same.entity, NEWS)]
        assert (result.written, result.unmatched) == (1, ("anna@example.org",))

    def test_if_the_crm_refuses_everything_nothing_is_lost(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.REFUSES_WRITES)
        under_test.set_up([ANNA], Consent(ANNA))
        with under_test.refusing_writes():
            crm, result = under_test.open(), WriteBack(0, 0)
            with suppress(CrmError):
                result = crm.record_unsubscribes([unsubscribe("anna@example.org")])
            assert result.written == result.already_known == 0
        assert sorted(under_test.withdrawn()) == []
        assert under_test.open().record_unsubscribes([unsubscribe("anna@example.org")]).written == 1
        assert sorted(under_test.withdrawn()) == [(under_test.subject(ANNA), NEWS)]

    def test_a_bounce_is_written_once_and_suppresses_the_address(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA, BEN])
        assert under_test.open().record_bounces([bounce("anna@example.org")]) == WriteBack(1, 0)
        assert under_test.open().record_bounces([bounce("anna@example.org")]) == WriteBack(0, 1)
        assert under_test.bounced() == {"anna@example.org": "hard"}
        frame = suppressed(under_test)
        assert set(frame[frame["kind"] == SuppressionKind.BOUNCE]["address"]) == {"anna@example.org"}

    def test_a_soft_bounce_never_replaces_a_final_one(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA])
        under_test.open().record_bounces([bounce("anna@example.org")])
        under_test.open().record_bounces([bounce("anna@example.org", BounceKind.SOFT, days=5)])
        assert under_test.bounced() == {"anna@example.org": "hard"}

    def test_a_bounce_of_an_unknown_address_is_returned(self, under_test: CrmUnderTest) -> None:
        under_test.set_up([ANNA])
        result = under_test.open().record_bounces([bounce("unknown@example.org")])
        assert (result.written, result.unmatched) == (0, ("unknown@example.org",))
        assert under_test.bounced() == {}

    def test_nothing_to_write_is_no_error(self, under_test: CrmUnderTest) -> None:
        assert under_test.open().record_unsubscribes([]) == WriteBack(0, 0)
        assert under_test.open().record_bounces([]) == WriteBack(0, 0)
