"""Consent states of records and addresses, as consent events of a copy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.consent import ConsentWords, OptIn
from campaign_sync.domain.consent_state import UNDATED_GRANT
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.memories import ListMemory
from campaign_sync_tests.crm.mirror.sources import ListSource
from campaign_sync_tests.crm.small_crm import NOON

FANS = Pick("marketing_list", "Fans")
NEWS, PRESS = OptIn("News ", "nord", "News", "email"), OptIn("press", "sued", "Press", "email")
WORDS = ConsentWords(granted=frozenset({"yes"}), withdrawn=frozenset({"opted out"}), ignored=frozenset({"unticked"}))


def state(
    entity_id: str | None,
    kind: str,
    *,
    days: float | None = None,
    opt_in_id: str | None = "news",
    address: str | None = None,
    entity_type: str | None = "Contact",
) -> tuple[object, ...]:
    changed_at = None if days is None else NOON + timedelta(days=days)
    return (
        entity_type if entity_id else None,
        entity_id,
        address,
        opt_in_id,
        kind,
        changed_at,
        "form",
        "double opt-in",
    )


def source(*states: tuple[object, ...], opt_ins: tuple[OptIn, ...] = (NEWS,)) -> ListSource:
    people: dict[EntityType, list[tuple[object, object]]] = {
        EntityType.CONTACT: [("c1", "Anna@BÜRO.example.org "), ("c2", "ben@example.org"), (" c3 ", None)],
        EntityType.LEAD: [("l1", "anna@xn--bro-hoa.example.org")],
    }
    members: list[tuple[object, object]] = [("contact", "c1"), ("contact", "c2"), ("contact", "c3"), ("lead", "l1")]
    return ListSource(people_of=people, members={FANS: members}, opt_in_list=[*opt_ins], states=list(states))


def crm_of(crm: ListSource, folder: Path, memory: ListMemory | None = None) -> MirrorCrm:
    return copied(crm, folder, frozenset({FANS}), memory=memory, words=WORDS)


def kinds(crm: MirrorCrm, opt_in_id: str = "News") -> dict[str, str]:
    """Return the kinds of the consents that decide, by id."""
    with crm.snapshot([opt_in_id]) as snapshot:
        frames = list(snapshot.select(FANS, opt_in_id, []))
    return {
        entity_id: kind
        for frame in frames
        for entity_id, kind in zip(frame["entity_id"], frame["consent_kind"], strict=True)
        if isinstance(kind, str)
    }


def suppressed(crm: MirrorCrm, mandator: str = "nord") -> list[tuple[str, str]]:
    with crm.snapshot() as snapshot:
        frame = snapshot.suppression(mandator)
    return sorted(zip(frame["kind"], frame["entity_id"], strict=True))


def test_a_state_is_an_event_at_its_own_date(tmp_path: Path) -> None:
    crm = crm_of(source(state(" c1", "YES", days=1), state("c2", "Opted out", days=1)), tmp_path)
    with crm.snapshot(["news"]) as snapshot:
        contacts, *_ = snapshot.select(FANS, "News", [])
        anna = contacts.iloc[0]
        assert (anna["consent_kind"], anna["consent_at"]) == ("granted", NOON + timedelta(days=1))
        assert (anna["consent_source"], anna["consent_evidence"]) == ("form", "double opt-in")
    assert kinds(crm) == {"c1": "granted", "c2": "withdrawn"}
    assert suppressed(crm) == [("unsubscribe", "c2")]


def test_a_state_of_neither_is_no_event(tmp_path: Path) -> None:
    assert kinds(crm_of(source(state("c1", " None "), state("c2", "unticked"), state("c3", "granted")), tmp_path)) == {
        "c3": "granted"
    }


def test_an_undated_grant_is_older_than_every_withdrawal(tmp_path: Path) -> None:
    with crm_of(source(state("c1", "granted")), tmp_path).snapshot() as snapshot:
        assert [at for _, _, at in consenting(snapshot, "News")] == [UNDATED_GRANT]


@pytest.mark.parametrize("kind", ["opted out", "yes"])
def test_the_state_of_an_address_is_of_everybody_with_it(tmp_path: Path, kind: str) -> None:
    crm = crm_of(source(state(None, kind, address=" ANNA@büro.example.org"), state(None, kind, address="!")), tmp_path)
    assert set(kinds(crm)) == {"c1", "l1"}


def test_of_several_states_the_newest_decides_and_a_tie_is_a_withdrawal(tmp_path: Path) -> None:
    anna = "anna@büro.example.org"
    newer = source(state("c1", "opted out", days=1), state(None, "yes", days=2, address=anna))
    assert kinds(crm_of(newer, tmp_path)) == {"c1": "granted", "l1": "granted"}
    tie = source(state("c1", "opted out", days=2), state(None, "yes", days=2, address=anna))
    assert kinds(crm_of(tie, tmp_path)) == {"c1": "withdrawn", "l1": "granted"}
    twice = source(state(None, "yes", days=3, address=anna), state(None, "opted out", address=f"{anna} "))
    assert set(kinds(crm_of(twice, tmp_path)).values()) == {"withdrawn"}


def test_a_state_without_an_opt_in_withdraws_them_all_and_grants_only_a_single_one(tmp_path: Path) -> None:
    both = source(state("c1", "opted out", opt_in_id=None), opt_ins=(NEWS, PRESS))
    assert kinds(crm_of(both, tmp_path)) == kinds(crm_of(both, tmp_path), "press") == {"c1": "withdrawn"}
    single = source(state("c1", "yes", opt_in_id=None, days=1))
    assert kinds(crm_of(single, tmp_path)) == {"c1": "granted"}
    either = source(state("c1", "yes", opt_in_id=None), opt_ins=(NEWS, PRESS))
    with pytest.raises(CrmError, match="without naming an opt-in, and 2 opt-ins are defined"):
        kinds(crm_of(either, tmp_path))


def test_an_unclear_state_without_an_opt_in_is_about_them_all(tmp_path: Path) -> None:
    crm = source(state("c1", "maybe", opt_in_id=None), opt_ins=(NEWS, PRESS))
    assert suppressed(crm_of(crm, tmp_path)) == suppressed(crm_of(crm, tmp_path), "sued") == [("unclear", "c1")]


def test_a_state_that_is_not_understood_keeps_its_person_out_and_names_its_word(tmp_path: Path) -> None:
    crm = crm_of(source(state("c1", "Perhaps"), state("c2", "yes", days=1)), tmp_path)
    assert kinds(crm) == {"c1": "not understood", "c2": "granted"}
    with crm.snapshot() as snapshot:
        counts = snapshot.consent_rows("News")
    assert dict(counts.unclear) == {"kind": 1}
    assert dict(counts.words) == {("kind", "perhaps"): 1}


@pytest.mark.parametrize(
    ("odd", "people"),
    [
        (state("c1", "opted out", opt_in_id="gone"), ["c1"]),
        (state(None, "opted out", opt_in_id="gone", address="anna@BÜRO.example.org"), ["c1", "l1"]),
        (state("c1", "yes", opt_in_id="telephone"), []),
        (state("l1", "yes", entity_type="prospect"), ["l1"]),
        (state("c1", "unticked", opt_in_id="gone"), []),
        (state("c1", "unticked", entity_type="prospect"), []),
    ],
)
def test_states_of_unknown_types_and_opt_ins_are_judged_as_events_are(
    tmp_path: Path, odd: tuple[object, ...], people: list[str]
) -> None:
    memory = ListMemory()
    crm = crm_of(source(odd), tmp_path, memory)
    assert suppressed(crm) == [("unclear", entity_id) for entity_id in people]
    assert memory.subjects == []


def test_the_memory_sees_every_state_of_the_opt_ins_that_are_read(tmp_path: Path) -> None:
    memory = ListMemory()
    states = (
        state("c2", "yes"),
        state("c1", "unticked"),
        state("c1", "yes", opt_in_id="press"),
        state(None, "yes", address="Anna@example.org "),
    )
    kinds(crm_of(source(*states, opt_ins=(NEWS, PRESS)), tmp_path, memory))
    assert memory.subjects == [("News", "address:anna@example.org"), ("News", "contact:c1"), ("News", "contact:c2")]


def test_nothing_is_remembered_of_a_read_that_lost_rows(tmp_path: Path) -> None:
    for table in ("consent_state", "address_state"):
        memory, crm = ListMemory(), source(state("c1", "yes"))
        crm.bounces = [("x@example.org", "hard", NOON, "nord", "test")]
        crm.lost = {table: 1}
        with pytest.raises(CrmError, match=f"0 of 1 rows of {table} came"):
            kinds(crm_of(crm, tmp_path, memory))
        assert memory.subjects == []


def test_a_state_of_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrmError, match="2 consent states name neither a record nor an address"):
        kinds(crm_of(source(state(None, "yes"), state(" ", "opted out")), tmp_path))


@pytest.mark.parametrize("blank", ["", "  ", "\u00a0", "\u200b\ufeff"])
def test_the_state_of_a_blank_address_is_of_no_record(tmp_path: Path, blank: str) -> None:
    crm = source(*(state(None, kind, address=blank) for kind in ("yes", "opted out", "?")), state("c2", "yes", days=1))
    crm.people_of[EntityType.CONTACT][0] = ("c1", blank)
    assert kinds(crm_of(crm, tmp_path)) == {"c2": "granted"}


def test_an_undated_withdrawal_counts_from_its_first_observation(tmp_path: Path) -> None:
    memory = ListMemory()
    crm = crm_of(source(state("c1", "opted out")), tmp_path, memory)

    def withdrawn_at() -> object:
        with crm.snapshot() as snapshot:
            return snapshot.suppression("nord")["since"].iloc[0]

    assert withdrawn_at() == withdrawn_at()


def test_a_state_that_is_withdrawn_may_be_ours_whatever_its_source_says(tmp_path: Path) -> None:
    crm = crm_of(source(state("c1", "yes", days=1), state("c2", "opted out", days=5)), tmp_path)
    with crm.snapshot() as snapshot:
        assert snapshot.newest_consent_change("News") == NOON + timedelta(days=1)


def test_what_a_delivery_shows_was_observed_when_it_came(tmp_path: Path) -> None:
    delivered, memory = source(state("c1", "opted out")), ListMemory()
    delivered.as_of = datetime.now(UTC) - timedelta(hours=3)
    kinds(crm_of(delivered, tmp_path, memory))
    assert set(memory.first_seen.values()) == {delivered.as_of}
    ahead, memory = source(state("c1", "opted out")), ListMemory()
    ahead.as_of = datetime.now(UTC) + timedelta(hours=3)
    kinds(crm_of(ahead, tmp_path, memory))
    assert max(memory.first_seen.values()) < ahead.as_of, "no delivery comes from the future"
