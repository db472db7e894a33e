"""The consents on which recipients were written to, by the snapshots that were sent."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Attribution, ConsentRef, RawRow, Unsubscribe
from campaign_sync.feedback.attribution import ATTRIBUTION_PERIOD, TOLERANCE, attribute_to_consents
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.replacements import Replacement, ReplacementState
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ANNA = "anna@example.org"
NEWS, PRESS = 11, 12
CONTACT, LEAD = Entity(EntityType.CONTACT, "c1"), Entity(EntityType.LEAD, "l1")


class SentLists:
    """Lists that were sent, in a state database and a folder of their own."""

    def __init__(self, state: State, folder: Path) -> None:
        self.state, self.folder, self.frames = state, folder, FileStorage(str(folder))

    def sent(self, at: datetime, list_id: int, entity: Entity, opt_in_id: str, *, changed: bool = True) -> None:
        row = {"recipient_id": ANNA, "entity_type": entity.entity_type, "entity_id": entity.entity_id}
        file = self.frames.write_frame("snapshots", at, pd.DataFrame([{**row, "opt_in_id": opt_in_id}]))
        stored = self.state.snapshots.add("nord", str(list_id), 1, file, "run", at)
        entry = Replacement("nord", str(list_id), list_id, "run", stored.id, ReplacementState.PROVEN, at, str(uuid4()))
        self.state.replacements.start(replace(entry, cleared_at=at if changed else None))

    def unsubscribe(self, at: datetime, who: str = ANNA) -> Unsubscribe:
        return Unsubscribe(who, at, "nord", "optimizely:unsubscribes", raw=RawRow("import", 0))

    def consents_at(
        self, at: datetime, list_ids: frozenset[int] | None = None, who: str = ANNA
    ) -> frozenset[ConsentRef]:
        (unsubscribe,) = attribute_to_consents([self.unsubscribe(at, who)], self.state, self.frames, lambda _: list_ids)
        return unsubscribe.consents


@pytest.fixture
def lists(tmp_path: Path, database_url: str) -> Iterator[SentLists]:
    with State(database_url) as state:
        yield SentLists(state, tmp_path / "frames")


def test_the_consents_are_those_of_the_recipients_lists_under_any_record(lists: SentLists) -> None:
    lists.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    lists.sent(NOON - DAY, PRESS, LEAD, "press")
    assert lists.consents_at(NOON) == {ConsentRef(CONTACT, "news"), ConsentRef(LEAD, "press")}
    assert lists.consents_at(NOON, who="ben@example.org") == frozenset()


def test_lists_sent_after_the_unsubscribe_do_not_count(lists: SentLists) -> None:
    lists.sent(NOON - DAY, NEWS, CONTACT, "news")
    lists.sent(NOON + DAY, PRESS, CONTACT, "press")
    assert lists.consents_at(NOON) == {ConsentRef(CONTACT, "news")}


def test_a_mailing_restricts_the_consents_to_its_lists_and_to_none_where_these_are_not_ours(lists: SentLists) -> None:
    lists.sent(NOON - DAY, NEWS, CONTACT, "news")
    lists.sent(NOON - DAY, PRESS, CONTACT, "press")
    assert lists.consents_at(NOON, frozenset({PRESS})) == {ConsentRef(CONTACT, "press")}
    assert lists.consents_at(NOON, frozenset({99})) == frozenset()


def test_a_list_sent_right_after_the_unsubscribe_counts_because_clocks_differ(lists: SentLists) -> None:
    lists.sent(NOON + TOLERANCE, NEWS, CONTACT, "news")
    assert lists.consents_at(NOON) == {ConsentRef(CONTACT, "news")}


def test_lists_that_were_never_changed_and_those_of_long_ago_do_not_count(lists: SentLists) -> None:
    lists.sent(NOON - DAY, NEWS, CONTACT, "news", changed=False)
    lists.sent(NOON - ATTRIBUTION_PERIOD - DAY, PRESS, CONTACT, "press")
    assert lists.consents_at(NOON) == frozenset()


def test_without_a_snapshot_of_that_time_there_are_no_consents_and_other_times_are_unaffected(lists: SentLists) -> None:
    lists.sent(NOON - 200 * DAY, NEWS, CONTACT, "news")
    max(lists.folder.rglob("*.parquet")).unlink()
    lists.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    left_long_ago = lists.unsubscribe(NOON - 150 * DAY)
    left_now = lists.unsubscribe(NOON)
    long_ago, now = attribute_to_consents([left_long_ago, left_now], lists.state, lists.frames)
    assert long_ago.consents == frozenset()
    assert now.consents == {ConsentRef(CONTACT, "news")}


def test_each_list_counts_as_it_was_sent_last(lists: SentLists) -> None:
    lists.sent(NOON - 3 * DAY, NEWS, LEAD, "news")
    lists.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    lists.sent(NOON - DAY, PRESS, CONTACT, "press")
    lists.sent(NOON + DAY, NEWS, LEAD, "news")
    assert lists.consents_at(NOON) == {ConsentRef(CONTACT, "news"), ConsentRef(CONTACT, "press")}
    assert lists.consents_at(NOON, frozenset({NEWS})) == {ConsentRef(CONTACT, "news")}
    assert lists.consents_at(NOON - 2 * DAY - DAY / 2) == {ConsentRef(LEAD, "news")}


def test_several_unsubscribes_of_a_recipient_each_have_the_lists_of_their_own_time(lists: SentLists) -> None:
    for days, opt_in_id in ((6, "first"), (5, "second"), (4, "third"), (2, "fourth"), (1, "fifth")):
        lists.sent(NOON - days * DAY, NEWS, CONTACT, opt_in_id)
    lists.sent(NOON - 5 * DAY, PRESS, LEAD, "press")
    moments = [NOON, NOON - 5 * DAY - TOLERANCE, NOON - 5 * DAY - 2 * TOLERANCE, NOON - 3 * DAY, NOON - 7 * DAY]

    unsubscribes = attribute_to_consents([lists.unsubscribe(moment) for moment in moments], lists.state, lists.frames)

    assert [{consent.opt_in_id for consent in unsubscribe.consents} for unsubscribe in unsubscribes] == [
        {"fifth", "press"},
        {"second", "press"},
        {"first"},
        {"third", "press"},
        set(),
    ]


def test_the_attribution_says_how_the_consents_were_determined(lists: SentLists) -> None:
    lists.sent(NOON - DAY, NEWS, CONTACT, "news")

    def attribution(list_ids: frozenset[int] | None = None) -> Attribution:
        unsubscribe = lists.unsubscribe(NOON)
        return attribute_to_consents([unsubscribe], lists.state, lists.frames, lambda _: list_ids)[0].attribution

    assert attribution() is Attribution.SNAPSHOTS
    assert attribution(frozenset({NEWS})) is Attribution.MAILING
    assert attribution(frozenset({PRESS})) is Attribution.MANDATOR


def test_for_a_named_opt_in_only_its_lists_count_whichever_lists_the_mailing_went_to(
    lists: SentLists,
) -> None:
    lists.sent(NOON - DAY, NEWS, CONTACT, "news")
    lists.sent(NOON - DAY, PRESS, LEAD, "press")
    named = replace(lists.unsubscribe(NOON), opt_in_id="press", attribution=Attribution.OPT_IN)
    (attributed,) = attribute_to_consents([named], lists.state, lists.frames, lambda _: frozenset({NEWS}))
    assert attributed.consents == {ConsentRef(LEAD, "press")}
    assert attributed.attribution is Attribution.OPT_IN
