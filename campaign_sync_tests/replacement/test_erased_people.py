"""Erased people on the whole path of a list: older snapshots, a restored state, a lost key, a new consent."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import delete, select

from campaign_sync.cli.run import problems
from campaign_sync.domain.erasure import Erasure
from campaign_sync.domain.instant import CLOCK_TOLERANCE
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.person_search import report_memberships
from campaign_sync.inquiry.sources import open_sources
from campaign_sync.storage.erasure_tables import erasure, erasure_subject, metadata
from campaign_sync.storage.open import open_state
from campaign_sync.storage.tables import rejection
from campaign_sync_tests.installation import ADDRESSES, Installation, running_installation

KEY = "an invented key of thirty-two characters"
ERASED, NEW_PERSON = ADDRESSES[0], ADDRESSES[1]
RECIPIENT_LIST = [["nord", "newsletter_recipient_list"]]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        running.list_settings()["limits"] = {"max_shrink": 0.9, "max_growth": 9}
        running.first_day()
        running.environment["ERASURE_KEY"] = KEY
        running.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}
        yield running


def erase(installation: Installation, address: str, record: str) -> datetime:
    """Record an erasure long enough ago for a newer consent, and return until when consents count no more."""
    erased_at = datetime.now(UTC) - CLOCK_TOLERANCE - timedelta(minutes=5)
    with open_state(installation.configuration) as state:
        key = state.erasures.key()
        subjects = key.subjects([address], [record])
        recorded = Erasure(record, erased_at, "privacy officer", "by letter", key.probe, subjects)
        state.erasures.record(recorded)
    return recorded.until


def rejected(installation: Installation) -> set[tuple[str, str]]:
    """Return stage and record of the rejections of erased people."""
    with installation.state_database() as state:
        rows = state.execute(select(rejection.c.stage, rejection.c.entity_id).where(rejection.c.reason == "erased"))
        return {(row.stage, row.entity_id) for row in rows}


def assert_not_stored(installation: Installation, address: str) -> None:
    """Check that what a run stores holds an address nowhere: raw feedback, frames and the state database."""
    frames = installation.folder / "frames"
    raw = [path.read_text() for path in (frames / "feedback").rglob("*.csv")]
    assert any("@erased.invalid" in text for text in raw)
    parquet = list((frames / "assets").rglob("*.parquet"))
    assert len(parquet) > 1
    stored = [*raw, *(pd.read_parquet(path).to_csv() for path in parquet)]
    with installation.state_database() as state:
        stored += [repr(state.execute(select(table)).all()) for table in metadata.sorted_tables]
    assert not [text for text in stored if address in text or "'c1'" in text]


def test_erased_people_get_into_no_list_again_until_they_consent_anew(installation: Installation) -> None:
    erase(installation, ERASED, "contact:c1")
    until = erase(installation, NEW_PERSON, "contact:c2")
    assert installation.run(assets=RECIPIENT_LIST).success  # of the snapshot that has them
    assert installation.addresses() == ADDRESSES[2:]
    assert rejected(installation) == {("gate", "c1"), ("gate", "c2")}

    with installation.state_database() as state:  # yesterday's state is restored
        for table in (erasure, erasure_subject, rejection):
            state.execute(delete(table))
    installation.consent("c2", "newsletter-nord", "granted", until + timedelta(microseconds=1))
    installation.leave(ERASED, until + timedelta(seconds=1))  # of a mailing that was under way
    installation.day()
    assert installation.addresses() == ADDRESSES[1:]
    ((stage, record),) = rejected(installation)
    assert (stage, len(record)) == ("selection", 32)
    with open_sources(installation.configuration) as sources:
        (report,) = report_memberships(sources, PersonQuery.parse("contact:c1"))
        (newsletter,) = [entry for entry in report.lists if entry.settings.mandator == "nord"]
        reason = newsletter.now.rejections.reason
        assert reason
        assert reason.reason == "erased"
        assert [entry.reason for entry in newsletter.suppression_reasons] == ["unsubscribed", "erased"]
    with installation.state() as restored:
        assert {past.id for past in restored.erasures.pending()} == {"contact:c1", "contact:c2"}
    assert_not_stored(installation, ERASED)

    for key, problem in [(None, "erasure.key isn't set, and without it"), ("x" * 32, "erasure.key is another one")]:
        installation.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}} if key else {}
        installation.environment["ERASURE_KEY"] = key or KEY
        clears = installation.clears()
        refused = installation.run(assets=RECIPIENT_LIST)
        assert not refused.success
        assert f"was not touched. erasures: {problem}" in problems(refused)[0]
        assert installation.clears() == clears
