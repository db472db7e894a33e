"""A plan judges the consents of a CRM that keeps states as the run after it, and leaves what is remembered alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, text

from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import ConsentState, StateEvent
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.unshown_feedback import WrittenWithdrawal
from campaign_sync.storage.state import State

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PEOPLE = [f"contact:{number}" for number in range(4)]


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return everything that a database holds, by table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        rows_of = {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in tables}
    engine.dispose()
    return {name: sorted(map(tuple, rows), key=str) for name, rows in rows_of.items()}


def read(memory: ConsentMemory, shown: Sequence[ConsentState], now: datetime) -> list[StateEvent]:
    return [event for events in memory.events("News", [shown[:2], shown[2:]], now) for event in events]


Days = list[list[tuple[ConsentKind | None, datetime | None] | None]]

_state = st.tuples(
    st.sampled_from([ConsentKind.GRANTED, ConsentKind.WITHDRAWN, None]), st.sampled_from([None, NOON - DAY, NOON + DAY])
)
_days = st.lists(st.lists(st.none() | _state, min_size=len(PEOPLE), max_size=len(PEOPLE)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(days=_days, accept=st.booleans(), overdue=st.booleans())
def test_each_day_is_planned_as_it_is_run(folder: Path, days: Days, accept: bool, overdue: bool) -> None:
    url = f"sqlite:///{folder / f'{len(list(folder.iterdir()))}.db'}"
    with State(url) as state, State(url, remembers=False) as planned:
        memory = state.consent_memory(accept_undated=accept)
        if overdue:
            withdrawal = WrittenWithdrawal(
                "w1", Entity(EntityType.CONTACT, "0"), "News", NOON - DAY, "optimizely:unsubscribes", "", None
            )
            memory.remember_written([withdrawal], [], NOON - 90 * DAY)
        for number, day in enumerate(days):
            now = NOON + number * DAY
            shown = [ConsentState(key, *entry) for key, entry in zip(PEOPLE, day, strict=True) if entry]
            before = contents(url)
            plan = State(url, remembers=False)
            unsaved = plan.consent_memory(accept_undated=accept)
            foreseen = [read(unsaved, shown, now), read(unsaved, shown, now)]
            assert contents(url) == before
            assert foreseen == [read(memory, shown, now), read(memory, shown, now)]
            for opened in (plan.consent_observations, state.consent_observations):
                assert opened.last_read("news") is not None
            assert plan.consent_observations.last_read("news") == state.consent_observations.last_read("news")
            assert sorted(plan.consent_observations.refused("news")) == sorted(
                state.consent_observations.refused("news")
            )
            assert unsaved.unshown_withdrawals() == memory.unshown_withdrawals()
        assert planned.pseudonyms.of("a") == state.pseudonyms.of("a")


def test_a_database_that_was_never_used_gets_no_key_from_a_plan(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    State(url).close()
    before = contents(url)
    assert State(url, remembers=False).pseudonyms.of("a").startswith("p_")
    assert contents(url) == before
