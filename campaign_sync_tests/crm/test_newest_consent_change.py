"""The newest consent event that isn't from us, in a CRM in any database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from campaign_sync.crm.sql import schema
from campaign_sync.feedback.consent_silence import watch_consents
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.small_crm import NOON, SmallCrm


def newest(small: SmallCrm, opt_in_id: str = "news") -> datetime | None:
    with small.crm.snapshot() as crm:
        return crm.newest_consent_change(opt_in_id)


def add(small: SmallCrm, kind: str, days: float, source: str | None, opt_in_id: str = "news") -> None:
    at = NOON + timedelta(days=days)
    small.add(
        schema.consent_event, id=f"{kind} {days} {source} {opt_in_id}", entity_type="contact", entity_id="Ö'1",
        opt_in_id=opt_in_id, kind=kind, occurred_at=at, source=source,
    )  # fmt: skip


def test_a_grant_and_a_withdrawal_from_elsewhere_count_and_ours_do_not(small: SmallCrm) -> None:
    assert newest(small) is None
    add(small, "withdrawn", 9, "optimizely:getUnsubscribes")
    add(small, "withdrawn", 8, None)
    add(small, "granted", 30, "form", "offers")
    assert newest(small) is None
    add(small, "granted", 1, None)
    assert newest(small) == NOON + timedelta(days=1)
    add(small, "withdrawn", 2, "preference center")
    assert newest(small) == NOON + timedelta(days=2)
    add(small, "confirmed", 3, "form")
    assert newest(small, "offers") == NOON + timedelta(days=30)
    assert newest(small) == NOON + timedelta(days=3)


def test_times_in_the_future_do_not_count(small: SmallCrm) -> None:
    add(small, "granted", 1, "form")
    add(small, "granted", 36_500, "form")
    assert newest(small) == NOON + timedelta(days=1)


@pytest.mark.parametrize("at", ["2026-03-02T12:00:00Z", "2026-03-02 13:00:00+01:00", None, "infinity", "soon"])
def test_times_in_any_form_are_read(small_sqlite: SmallCrm, at: str | None) -> None:
    small_sqlite.allow_anything()
    small_sqlite.event("e1", "contact", "1", "news", "granted", "2026-03-01 12:00:00")
    small_sqlite.event("e2", " Contact ", "1", " NEWS", "Granted", at)
    assert newest(small_sqlite) in (NOON, NOON + timedelta(days=1))


def test_a_mandator_is_as_active_as_the_most_active_of_its_opt_ins(small_sqlite: SmallCrm, tmp_path: Path) -> None:
    add(small_sqlite, "granted", 1, "form")
    add(small_sqlite, "granted", 5, "form", "offers")
    now = datetime(2026, 3, 20, 12, tzinfo=UTC)
    with State(f"sqlite:///{tmp_path / 'state.db'}") as state, small_sqlite.crm.snapshot() as crm:
        activity = watch_consents(crm, state, "nord", {"news", "offers", "unknown"}, now)
        assert activity.newest_at == NOON + timedelta(days=5)
        assert state.consent_activities.find("nord") == activity
        list(state.consent_memory().events("news", [], now - timedelta(days=2)))
        assert watch_consents(crm, state, "nord", {"news"}, now).newest_at == now - timedelta(days=2)
