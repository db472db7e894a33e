"""Through which consents somebody was written to, by the snapshots that were sent."""

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


class Past:
    """What was sent, in a state database and a folder of its own."""

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

    def through(self, at: datetime, lists: frozenset[int] | None = None, who: str = ANNA) -> frozenset[ConsentRef]:
        (found,) = attribute_to_consents(
            [self.unsubscribe(at, who)], self.state.replacement_history, self.frames, lambda _: lists
        )
        return found.consents


@pytest.fixture
def past(tmp_path: Path, database_url: str) -> Iterator[Past]:
    with State(database_url) as state:
        yield Past(state, tmp_path / "frames")


def test_it_is_the_consents_of_the_lists_that_somebody_was_in_under_whichever_record(past: Past) -> None:
    past.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    past.sent(NOON - DAY, PRESS, LEAD, "press")
    assert past.through(NOON) == {ConsentRef(CONTACT, "news"), ConsentRef(LEAD, "press")}
    assert past.through(NOON, who="ben@example.org") == frozenset()


def test_what_was_sent_after_somebody_left_doesnt_change_what_they_left(past: Past) -> None:
    past.sent(NOON - DAY, NEWS, CONTACT, "news")
    past.sent(NOON + DAY, PRESS, CONTACT, "press")
    assert past.through(NOON) == {ConsentRef(CONTACT, "news")}


def test_a_mailing_narrows_it_to_its_lists_and_of_one_to_other_lists_nobody_can_tell(past: Past) -> None:
    past.sent(NOON - DAY, NEWS, CONTACT, "news")
    past.sent(NOON - DAY, PRESS, CONTACT, "press")
    assert past.through(NOON, frozenset({PRESS})) == {ConsentRef(CONTACT, "press")}
    assert past.through(NOON, frozenset({99})) == frozenset()


def test_a_list_that_was_sent_right_after_somebody_left_may_be_what_they_left_for_clocks_differ(past: Past) -> None:
    past.sent(NOON + TOLERANCE, NEWS, CONTACT, "news")
    assert past.through(NOON) == {ConsentRef(CONTACT, "news")}


def test_what_never_reached_the_list_and_what_is_too_long_ago_doesnt_count(past: Past) -> None:
    past.sent(NOON - DAY, NEWS, CONTACT, "news", changed=False)
    past.sent(NOON - ATTRIBUTION_PERIOD - DAY, PRESS, CONTACT, "press")
    assert past.through(NOON) == frozenset()


def test_where_a_snapshot_of_that_time_is_gone_nobody_can_tell_and_others_time_is_not_touched(past: Past) -> None:
    past.sent(NOON - 200 * DAY, NEWS, CONTACT, "news")
    max(past.folder.rglob("*.parquet")).unlink()
    past.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    left_long_ago = past.unsubscribe(NOON - 150 * DAY)
    left_now = past.unsubscribe(NOON)
    long_ago, now = attribute_to_consents([left_long_ago, left_now], past.state.replacement_history, past.frames)
    assert long_ago.consents == frozenset()
    assert now.consents == {ConsentRef(CONTACT, "news")}


def test_of_each_list_it_is_who_they_were_when_it_was_sent_last(past: Past) -> None:
    past.sent(NOON - 3 * DAY, NEWS, LEAD, "news")
    past.sent(NOON - 2 * DAY, NEWS, CONTACT, "news")
    past.sent(NOON - DAY, PRESS, CONTACT, "press")
    past.sent(NOON + DAY, NEWS, LEAD, "news")
    assert past.through(NOON) == {ConsentRef(CONTACT, "news"), ConsentRef(CONTACT, "press")}
    assert past.through(NOON, frozenset({NEWS})) == {ConsentRef(CONTACT, "news")}
    assert past.through(NOON - 2 * DAY - DAY / 2) == {ConsentRef(LEAD, "news")}


def test_who_is_told_of_for_several_moments_was_in_the_lists_of_each_of_them(past: Past) -> None:
    for days, opt_in_id in ((6, "first"), (5, "second"), (4, "third"), (2, "fourth"), (1, "fifth")):
        past.sent(NOON - days * DAY, NEWS, CONTACT, opt_in_id)
    past.sent(NOON - 5 * DAY, PRESS, LEAD, "press")
    moments = [NOON, NOON - 5 * DAY - TOLERANCE, NOON - 5 * DAY - 2 * TOLERANCE, NOON - 3 * DAY, NOON - 7 * DAY]

    found = attribute_to_consents(
        [past.unsubscribe(each) for each in moments], past.state.replacement_history, past.frames
    )

    assert [{each.opt_in_id for each in one.consents} for one in found] == [
        {"fifth", "press"},
        {"second", "press"},
        {"first"},
        {"third", "press"},
        set(),
    ]


def test_it_is_told_by_what_somebodys_consents_were_found(past: Past) -> None:
    past.sent(NOON - DAY, NEWS, CONTACT, "news")

    def attribution(one: Unsubscribe, lists: frozenset[int] | None = None) -> Attribution:
        return attribute_to_consents([one], past.state.replacement_history, past.frames, lambda _: lists)[0].attribution

    assert attribution(past.unsubscribe(NOON)) is Attribution.SNAPSHOTS
    assert attribution(past.unsubscribe(NOON), frozenset({NEWS})) is Attribution.MAILING
    assert attribution(past.unsubscribe(NOON), frozenset({PRESS})) is Attribution.MANDATOR


def test_of_an_unsubscribe_that_names_an_opt_in_only_that_ones_lists_tell_whoever_the_mailing_went_to(
    past: Past,
) -> None:
    past.sent(NOON - DAY, NEWS, CONTACT, "news")
    past.sent(NOON - DAY, PRESS, LEAD, "press")
    named = replace(past.unsubscribe(NOON), opt_in_id="press", attribution=Attribution.OPT_IN)
    (found,) = attribute_to_consents([named], past.state.replacement_history, past.frames, lambda _: frozenset({NEWS}))
    assert found.consents == {ConsentRef(LEAD, "press")}
    assert found.attribution is Attribution.OPT_IN
