"""The write-back of feedback into a CRM that is copied, and what it has accepted and doesn't show yet."""

from datetime import timedelta
from pathlib import Path

import pytest

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import WriteBack
from campaign_sync.crm.sql import chunks
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, CrmEntry, Unsubscribe
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.memories import ListMemory
from campaign_sync_tests.crm.mirror.sources import ListSource
from campaign_sync_tests.crm.small_crm import NOON

NEWS = OptIn("NEWS", "nord", "News", "email")
ANNA, BEN = Entity(EntityType.CONTACT, "c1"), Entity(EntityType.CONTACT, "c2")
HOUR = timedelta(hours=1)


class Written:
    """A CRM of Anna and Ben that takes feedback, and what was reported as written."""

    def __init__(self, folder: Path, *, states: bool) -> None:
        people: list[tuple[object, object]] = [("c1", " Anna@BÜRO.example.org"), ("c2", "ben@example.org")]
        self.source = ListSource(people_of={EntityType.CONTACT: people}, opt_in_list=[NEWS])
        if states:
            self.source.states = [("contact", id, None, "news", "granted", NOON, "form", None) for id in ("c1", "c2")]
        else:
            self.source.events = [
                (f"e-{id}", "contact", id, "news", "granted", NOON, "form", None) for id in ("c1", "c2")
            ]
        self.memory = ListMemory()
        self.entries: list[CrmEntry] = []
        self.crm: MirrorCrm = copied(self.source, folder, memory=self.memory, max_age=HOUR)

    def unsubscribe(self, *feedback: Unsubscribe) -> WriteBack:
        return self.crm.record_unsubscribes(feedback, self.entries.extend)

    def bounce(self, *feedback: Bounce) -> WriteBack:
        return self.crm.record_bounces(feedback, self.entries.extend)

    def suppressed(self) -> list[tuple[str, str | None]]:
        with self.crm.snapshot() as snapshot:
            frame = snapshot.suppression("nord")
        return [(kind, address) for kind, address in zip(frame["kind"], frame["address"], strict=True)]


@pytest.fixture(params=[True, False], ids=["states", "events"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return Written(tmp_path, states=request.param)


@pytest.fixture
def states(tmp_path: Path) -> Written:
    return Written(tmp_path, states=True)


def unsubscribed(name: str, days: float = 1) -> Unsubscribe:
    address = {"anna": "anna@xn--bro-hoa.example.org", "ben": "ben@example.org"}.get(name, name)
    return Unsubscribe(address, NOON + timedelta(days=days), "nord", "optimizely:getUnsubscribes")


def bounced(name: str, days: float = 1, kind: BounceKind = BounceKind.HARD) -> Bounce:
    return Bounce(unsubscribed(name).address, NOON + timedelta(days=days), "nord", "optimizely:getOutBounces", kind)


def test_a_withdrawal_names_everything_that_a_crm_may_need(written: Written) -> None:
    assert written.unsubscribe(unsubscribed("anna")) == WriteBack(1, 0)
    (withdrawal,) = written.source.withdrawals
    assert (withdrawal.entity, withdrawal.email) == (ANNA, " Anna@BÜRO.example.org")
    assert (withdrawal.opt_in_id, withdrawal.mandator, withdrawal.occurred_at) == ("NEWS", "nord", NOON + 24 * HOUR)
    assert withdrawal.evidence.startswith("unsubscribed from mandator nord in Optimizely Campaign")
    assert [(entry.new, entry.event_id) for entry in written.entries] == [(True, withdrawal.event_id)]


def test_the_same_feedback_again_changes_nothing(written: Written) -> None:
    for result in (WriteBack(1, 0), WriteBack(0, 1)):
        assert written.unsubscribe(unsubscribed("anna")) == result
        assert written.bounce(bounced("ben")) == result
    assert len(written.source.withdrawals) == len(written.source.marks) == 1
    assert [entry.new for entry in written.entries] == [True, True, False, False]


def test_a_bounce_names_everybody_with_the_address(written: Written) -> None:
    written.source.people_of[EntityType.LEAD] = [("l1", "ANNA@büro.example.org")]
    written.bounce(bounced("anna", 1, BounceKind.SOFT), bounced("anna", 0), bounced("ben"))
    holders = {mark.address: (mark.kind, [*mark.holders]) for mark in written.source.marks}
    assert holders == {
        "anna@xn--bro-hoa.example.org": (
            BounceKind.HARD,
            [(ANNA, " Anna@BÜRO.example.org"), (Entity(EntityType.LEAD, "l1"), "ANNA@büro.example.org")],
        ),
        "ben@example.org": (BounceKind.HARD, [(BEN, "ben@example.org")]),
    }


def test_bounces_need_no_consents(written: Written) -> None:
    written.bounce(bounced("ben"))
    assert not {"consent_event", "consent_state"} & set(written.source.reads)


def test_what_the_crm_refuses_is_unmatched_and_tried_again(written: Written) -> None:
    written.source.refused = {ANNA}
    address = unsubscribed("anna").address
    result = written.unsubscribe(unsubscribed("anna"), unsubscribed("ben"))
    assert (result.written, result.already_known, result.unmatched) == (1, 0, (address,))
    assert [(entry.feedback, entry.entity, entry.opt_in_id) for entry in result.refused] == [
        (unsubscribed("anna"), ANNA, "NEWS")
    ]
    refused = (CrmEntry(bounced("anna"), True),)
    assert written.bounce(bounced("anna"), bounced("ben")) == WriteBack(1, 0, (address,), refused)
    assert [entry.feedback.address for entry in written.entries] == ["ben@example.org"] * 2
    written.source.refused = set()
    assert written.unsubscribe(unsubscribed("anna"), unsubscribed("ben")) == WriteBack(1, 1)
    assert written.bounce(bounced("anna"), bounced("ben")) == WriteBack(1, 1)


def test_what_was_refused_with_one_chunk_is_not_tried_with_the_next(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 1)
    written.source.refused = {ANNA}
    both = [unsubscribed("anna"), unsubscribed("ben"), unsubscribed("anna"), unsubscribed("ben")]
    result = written.unsubscribe(*both)
    assert (result.written, result.unmatched) == (1, (unsubscribed("anna").address,))
    assert {entry.entity for entry in result.refused} == {ANNA}


def test_a_withdrawal_of_a_state_that_is_withdrawn_is_known(states: Written) -> None:
    states.source.states = [("contact", "c1", None, "news", "withdrawn", None, "import", None)]
    assert states.unsubscribe(unsubscribed("anna")) == WriteBack(0, 1)
    assert states.source.withdrawals == []
    (noted,) = states.memory.noted
    assert (noted.entity, noted.opt_in_id, noted.occurred_at) == (ANNA, "NEWS", NOON + 24 * HOUR)
    assert noted.address_pseudonym == states.memory.pseudonym("anna@xn--bro-hoa.example.org")
    assert states.unsubscribe(unsubscribed("anna")) == WriteBack(0, 1)
    assert states.memory.noted == [noted], "once is enough"


def test_a_withdrawal_that_the_crm_shows_with_an_older_time_keeps_its_own(states: Written) -> None:
    states.source.shows_what_was_written = False
    states.unsubscribe(unsubscribed("anna"))
    states.suppressed()
    assert states.memory.noted == []
    states.source.states = [("contact", "c1", None, "news", "withdrawn", NOON - HOUR, "import", None)]
    states.suppressed()
    assert [(noted.entity, noted.occurred_at) for noted in states.memory.noted] == [(ANNA, NOON + 24 * HOUR)]


def test_a_withdrawal_is_not_written_over_a_newer_grant(states: Written) -> None:
    assert states.unsubscribe(unsubscribed("anna", days=-1)) == WriteBack(0, 1)
    assert states.source.withdrawals == []
    states.source.states = [("contact", "c1", None, "news", "granted", None, "form", None)]
    assert states.unsubscribe(unsubscribed("anna", days=-1)) == WriteBack(1, 0), "without a date it isn't newer"


def test_a_state_that_was_changed_since_is_not_written_over_by_the_same_unsubscribe(states: Written) -> None:
    assert states.unsubscribe(unsubscribed("anna")) == WriteBack(1, 0)
    states.source.states = [
        ("contact", id, None, "news", "withdrawn" if id == "c1" else "granted", None, "form", None)
        for id in ("c1", "c2")
    ]
    with states.crm.snapshot():
        pass
    states.source.states = [("contact", id, None, "news", "granted", None, "form", None) for id in ("c1", "c2")]
    states.source.withdrawals.clear()
    assert states.unsubscribe(unsubscribed("anna")) == WriteBack(0, 1)
    assert states.unsubscribe(unsubscribed("anna", days=5)) == WriteBack(1, 0)


def test_a_history_gets_every_withdrawal(tmp_path: Path) -> None:
    written = Written(tmp_path, states=False)
    assert written.unsubscribe(unsubscribed("anna", days=-1), unsubscribed("anna")) == WriteBack(2, 0)
    assert written.suppressed() == [("unsubscribe", "anna@xn--bro-hoa.example.org")]


def test_what_the_crm_does_not_show_yet_counts_until_it_does(written: Written) -> None:
    written.source.shows_what_was_written = False
    written.unsubscribe(unsubscribed("anna"))
    written.bounce(bounced("ben"))
    expected = [("bounce", "ben@example.org"), ("unsubscribe", "anna@xn--bro-hoa.example.org")]
    assert written.suppressed() == written.suppressed() == expected
    assert written.unsubscribe(unsubscribed("anna")) == written.bounce(bounced("ben")) == WriteBack(0, 1)
    assert len(written.memory.withdrawals) == len(written.memory.bounces) == 1

    written.source._show(written.source.withdrawals[0])
    written.source.bounces = [("BEN@example.org", "hard", NOON + timedelta(days=1), "nord", "test")]
    assert written.suppressed() == expected
    assert not written.memory.withdrawals
    assert not written.memory.bounces
    if written.source.events is not None:
        written.source.events.pop()
    written.source.states = written.source.states and []
    assert written.suppressed() == expected[:1], "from here on the CRM alone counts"


def test_a_newer_grant_shows_that_the_crm_has_gone_on(written: Written) -> None:
    written.source.shows_what_was_written = False
    written.unsubscribe(unsubscribed("anna"))
    if written.source.events is None:
        written.source.states = [("contact", "c1", None, "news", "granted", NOON + timedelta(days=2), "form", None)]
    else:
        again = ("again", "contact", "c1", "news", "granted", NOON + timedelta(days=2), "form", None)
        written.source.events.append(again)
    assert written.suppressed() == []
    assert written.memory.withdrawals == {}


def test_an_older_bounce_of_the_crm_does_not_hide_a_newer_one(written: Written) -> None:
    written.source.shows_what_was_written = False
    written.source.bounces = [("ben@example.org", "soft", NOON, "nord", "test")]
    written.bounce(bounced("ben"))
    assert written.suppressed() == [("bounce", "ben@example.org")]
    assert len(written.memory.bounces) == 1


def test_an_unshown_withdrawal_of_an_opt_in_that_is_gone_keeps_no_person_out(written: Written) -> None:
    written.source.shows_what_was_written = False
    written.unsubscribe(unsubscribed("anna"))
    written.source.opt_in_list = [OptIn("offers", "nord", "Offers", "email")]
    assert written.suppressed() == []
    assert len(written.memory.withdrawals) == 1


def test_an_unshown_withdrawal_of_another_opt_in_is_left_alone(written: Written) -> None:
    written.source.shows_what_was_written = False
    written.source.opt_in_list.append(OptIn("offers", "nord", "Offers", "email"))
    written.unsubscribe(unsubscribed("anna"))
    with written.crm.snapshot(["offers"]) as snapshot:
        assert snapshot.suppression("nord").empty
    assert len(written.memory.withdrawals) == 1
