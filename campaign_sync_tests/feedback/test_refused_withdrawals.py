"""Withdrawals that the CRM refuses: repeated for the same consents, and in force meanwhile."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.feedback import Attribution, ConsentRef, Unsubscribe
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.pending_feedback import PendingFeedback
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.feedback.write_back import FeedbackWriteBack, WriteBackSummary
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.sources import ListSource

ANNA, BEN = Entity(EntityType.CONTACT, "c1"), Entity(EntityType.CONTACT, "c2")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
OLD, NEW = "anna@büro.example.org", "anna@example.com"
LEFT = Unsubscribe(OLD, NOW - DAY, "nord", "optimizely:unsubscribes")


class Refusing:
    """A CRM that refuses what it is made to refuse, and a state database."""

    def __init__(self, folder: Path, url: str) -> None:
        opt_ins = [OptIn("News", "nord", "News", "email"), OptIn("offers", "nord", "Offers", "email")]
        people: list[tuple[object, object]] = [("c1", " ANNA@büro.example.org"), ("c2", OLD)]
        self.source = ListSource(people_of={EntityType.CONTACT: people}, opt_in_list=opt_ins)
        self.source.states = [
            ("contact", entity_id, None, opt_in_id, "granted", NOW - 9 * DAY, "form", None)
            for entity_id in ("c1", "c2")
            for opt_in_id in ("news", "offers")
        ]
        self.state, self.frames = State(url), FileStorage(str(folder / "frames"))
        (folder / "crm").mkdir()
        self.crm: MirrorCrm = copied(self.source, folder / "crm", memory=self.state.consent_memory())  # type: ignore[arg-type]

    def move_anna(self) -> None:
        self.source.people_of[EntityType.CONTACT][0] = ("c1", NEW)

    @property
    def opt_outs(self) -> VendorOptOuts:
        return VendorOptOuts("nord", self.crm, self.state, self.frames)

    def write(self, *unsubscribes: Unsubscribe) -> WriteBackSummary:
        """Import feedback."""
        write_back = FeedbackWriteBack("nord", self.crm, self.state, self.frames, _no_vendor, FeedbackSettings())
        return write_back.run(PendingFeedback(unsubscribes=list(unsubscribes)))

    def withdrawn(self) -> list[tuple[Entity, str]]:
        return sorted((withdrawal.entity, withdrawal.opt_in_id.lower()) for withdrawal in self.source.withdrawals)

    def kept_out(self, opt_in_id: str) -> Suppressed:
        with self.crm.snapshot() as snapshot:
            return Suppressed.of(current_suppression(snapshot, self.state, "nord"), opt_in_id, NO_ERASURES)


def _no_vendor() -> NoReturn:
    raise AssertionError("the vendor isn't asked")


@pytest.fixture
def refusing(tmp_path: Path, database_url: str) -> Refusing:
    return Refusing(tmp_path, database_url)


def test_an_unsubscribe_that_is_refused_for_one_of_two_records_is_repeated_for_it(refusing: Refusing) -> None:
    refusing.source.refused = {BEN}
    first = refusing.write(LEFT)
    assert (first.written, first.unmatched, first.refused) == (2, 0, 2)
    assert refusing.withdrawn() == [(ANNA, "news"), (ANNA, "offers")]
    assert "contact:c2" in refusing.kept_out("News").withdrawn
    assert refusing.write().refused == 2, "refused again"
    refusing.source.refused = set()
    again = refusing.write()
    assert (again.written, again.refused) == (2, 0)
    assert refusing.withdrawn() == [(ANNA, "news"), (ANNA, "offers"), (BEN, "news"), (BEN, "offers")]
    assert refusing.state.refused_withdrawals.of("nord") == []
    assert refusing.write(LEFT).written == 0


def test_a_refused_withdrawal_stays_that_of_its_consent_alone(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    _attribute_to(monkeypatch, ConsentRef(ANNA, "news"))
    refusing.source.people_of[EntityType.CONTACT].pop()
    refusing.source.refused = {ANNA}
    refusing.write(LEFT)
    assert "contact:c1" not in refusing.kept_out("offers").withdrawn
    refusing.source.refused = set()
    refusing.write()
    assert refusing.withdrawn() == [(ANNA, "news")]
    assert "attributed by the lists that the recipient was in" in refusing.source.withdrawals[0].evidence


def test_a_refused_withdrawal_is_repeated_for_a_record_with_another_address(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    _attribute_to(monkeypatch, ConsentRef(ANNA, "news"))
    refusing.source.people_of[EntityType.CONTACT].pop()
    refusing.move_anna()
    refusing.source.refused = {ANNA}
    assert refusing.write(LEFT).unmatched == 0
    kept_out = refusing.kept_out("News")
    assert "contact:c1" in kept_out.withdrawn
    assert OLD in kept_out.withdrawn_at
    refusing.source.refused = set()
    refusing.write()
    assert refusing.withdrawn() == [(ANNA, "news")]


def test_a_refused_withdrawal_gives_way_to_a_newer_grant(refusing: Refusing) -> None:
    refusing.source.refused = {ANNA, BEN}
    refusing.write(LEFT)
    refusing.source.refused = set()
    refusing.source.states = [
        ("contact", id, None, opt_in, "granted", NOW, "form", None)
        for id in ("c1", "c2")
        for opt_in in ("news", "offers")
    ]
    assert refusing.write().refused == 0
    assert refusing.withdrawn() == []
    assert refusing.kept_out("News").withdrawn == frozenset()


def test_the_row_that_names_a_record_is_repeated_as_such(refusing: Refusing) -> None:
    named = replace(LEFT, opt_in_id="news", entity=ANNA, attribution=Attribution.RECORD)
    refusing.source.refused = {ANNA}
    refusing.write(named)
    refusing.source.refused = set()
    refusing.write()
    evidence = {withdrawal.entity: withdrawal.evidence for withdrawal in refusing.source.withdrawals}
    assert "by the opt-in id and the record" in evidence[ANNA]
    assert "by the opt-in id that the feedback row names, and by the address" in evidence[BEN]


def test_an_opt_out_of_a_recipient_list_stays_pending_if_the_crm_refuses_it(refusing: Refusing) -> None:
    left = {OLD: frozenset({ConsentRef(ANNA, "news")})}
    refusing.source.refused = {ANNA}
    assert refusing.opt_outs.record_of_list(7, [OLD], left, NOW, "optimizely:list") == {OLD}
    assert refusing.state.list_unsubscribes.known("nord", 7) == set()
    assert "contact:c1" in refusing.kept_out("News").withdrawn
    refusing.source.refused = set()
    assert refusing.opt_outs.record_of_list(7, [OLD], left, NOW + DAY, "optimizely:list") == {OLD}
    assert refusing.state.list_unsubscribes.known("nord", 7) == {OLD}
    assert refusing.withdrawn() == [(ANNA, "news"), (BEN, "news")]
    assert refusing.state.refused_withdrawals.of("nord") == []


def test_a_refused_opt_out_of_a_recipient_list_is_repeated_by_the_next_import(refusing: Refusing) -> None:
    left = {OLD: frozenset({ConsentRef(ANNA, "news")})}
    refusing.source.refused = {ANNA}
    refusing.opt_outs.record_of_list(7, [OLD], left, NOW, "optimizely:list")
    refusing.source.refused = set()
    assert refusing.write().written == 1
    assert (ANNA, "news") in refusing.withdrawn()
    refusing.opt_outs.record_of_list(7, [OLD], {}, NOW + DAY, "optimizely:list")
    assert refusing.state.list_unsubscribes.pending("nord", 7) == set(), "off the list: the next opt-out is a new one"


def test_an_opt_out_of_the_mandator_stays_pending_if_the_crm_refuses_it(refusing: Refusing) -> None:
    refusing.source.refused = {ANNA, BEN}
    refusing.opt_outs.record([OLD], [OLD], NOW, "optimizely:list", await_rows=False)
    assert refusing.opt_outs.withdraw_overdue(FeedbackSettings()) == 0
    assert [entry.recipient_id for entry in refusing.state.unsubscribed_recipients.pending("nord")] == [OLD]
    refusing.source.refused = set()
    assert refusing.opt_outs.withdraw_overdue(FeedbackSettings()) == 1
    assert refusing.state.unsubscribed_recipients.known("nord") == {OLD}
    assert len(refusing.withdrawn()) == 4


@pytest.mark.parametrize("granted_at", [NOW - 9 * DAY, NOW])
def test_a_withdrawal_of_a_consent_that_is_not_shown_waits_until_it_is(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch, granted_at: datetime
) -> None:
    """A table of consents may be loaded just now, or be read without one of its rows."""
    _attribute_to(monkeypatch, ConsentRef(ANNA, "news"), ConsentRef(ANNA, "offers"))
    refusing.source.people_of[EntityType.CONTACT].pop()
    news, offers = [state for state in refusing.source.states or [] if state[1] == "c1"]
    refusing.source.states = [news]
    first = refusing.write(LEFT)
    assert (first.written, first.unmatched, first.refused, first.not_shown) == (1, 0, 0, 1)
    refusing.source.states = [news, (*offers[:5], granted_at, *offers[6:])]
    assert "contact:c1" in refusing.kept_out("offers").withdrawn
    again, is_newer = refusing.write(LEFT), granted_at > LEFT.occurred_at
    assert again.not_shown == 0
    assert ("contact:c1" in refusing.kept_out("offers").withdrawn) is not is_newer
    assert refusing.withdrawn() == [(ANNA, "news"), *([] if is_newer else [(ANNA, "offers")])]


def test_no_withdrawal_waits_for_a_record_that_is_gone(refusing: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    _attribute_to(monkeypatch, ConsentRef(ANNA, "news"), ConsentRef(BEN, "news"))
    refusing.source.people_of[EntityType.CONTACT].pop()
    refusing.source.states = [state for state in refusing.source.states or [] if state[1] == "c1"]
    assert refusing.write(LEFT).not_shown == 0


def test_a_withdrawal_that_waited_and_is_refused_then_counts_as_refused(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    _attribute_to(monkeypatch, ConsentRef(ANNA, "news"), ConsentRef(ANNA, "offers"))
    every = refusing.source.states
    refusing.source.states = [state for state in every or [] if state[3] == "news"]
    refusing.write(LEFT)
    refusing.source.states, refusing.source.refused = every, {ANNA}
    again = refusing.write()
    assert (again.refused, again.not_shown) == (1, 0)


def _attribute_to(monkeypatch: pytest.MonkeyPatch, *consents: ConsentRef) -> None:
    """Let the snapshots show that recipients were mailed on these consents alone."""

    def attributed(unsubscribes: list[Unsubscribe], *_: object) -> list[Unsubscribe]:
        return [
            replace(entry, consents=frozenset(consents), attribution=Attribution.SNAPSHOTS) for entry in unsubscribes
        ]

    monkeypatch.setattr("campaign_sync.feedback.earlier_attributions.attribute_to_consents", attributed)
