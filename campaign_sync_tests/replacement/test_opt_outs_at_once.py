"""Opt-outs that two runs of one mandator see at the same moment."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select

from campaign_sync.crm.open import open_crm
from campaign_sync.crm.sql.schema import consent_event
from campaign_sync.domain.rejection import Reason
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.replacement.live_suppression import PEOPLE_COLUMNS, OptOutRecorder
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.installation import Installation, running_installation
from campaign_sync_tests.waiting import PATIENCE


@pytest.fixture
def proven(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as installation:
        installation.first_day()
        yield installation


def test_two_runs_that_see_the_same_people_leave_withdraw_each_consent_once(proven: Installation) -> None:
    configuration = proven.configuration
    left = [("contact", f"c{number}", *[f"person{number}@example.org"] * 2) for number in range(1, 5)]
    rows = pd.DataFrame(left, columns=PEOPLE_COLUMNS, dtype="str")
    reasons = pd.Series([Reason.UNSUBSCRIBED.value] * len(rows), dtype="str")
    begin, errors = threading.Barrier(2), list[Exception]()

    def record(name: str) -> None:
        with proven.state() as state:
            recorder = OptOutRecorder(
                open_crm(configuration, state.consent_memory()), state, FileStorage(configuration.storage.frames), name
            )
            begin.wait(PATIENCE)
            try:
                settings = list_settings(configuration, "nord", name)
                recorder.record_live_opt_outs(settings, rows, reasons, datetime.now(UTC))
            except Exception as error:  # noqa: BLE001 - shown by the test
                errors.append(error)

    threads = [threading.Thread(target=record, args=[name]) for name in ("newsletter", "products")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    withdrawn = consent_event.c.kind == "withdrawn"
    with proven.crm() as crm:
        entities = crm.execute(select(consent_event.c.entity_id).where(withdrawn)).scalars()
        assert Counter(entities) == {f"c{number}": 2 for number in range(1, 5)}
