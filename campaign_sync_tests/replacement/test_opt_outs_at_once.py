"""Opt-outs that two runs of one mandator see at the same moment."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select

from campaign_sync.crm.sql.schema import consent_event
from campaign_sync.replacement.live_suppression import PEOPLE_COLUMNS
from campaign_sync_tests.installation import Installation, running_installation
from campaign_sync_tests.replacement.opt_outs import record_at_once


@pytest.fixture
def proven(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as installation:
        installation.first_day()
        yield installation


def test_two_runs_that_see_the_same_people_leave_withdraw_each_consent_once(proven: Installation) -> None:
    left = [("contact", f"c{number}", *[f"person{number}@example.org"] * 2) for number in range(1, 5)]
    rows = pd.DataFrame(left, columns=PEOPLE_COLUMNS, dtype="str")

    assert record_at_once(proven, ("newsletter", "products"), rows) == []
    withdrawn = consent_event.c.kind == "withdrawn"
    with proven.crm() as crm:
        entities = crm.execute(select(consent_event.c.entity_id).where(withdrawn)).scalars()
        assert Counter(entities) == {f"c{number}": 2 for number in range(1, 5)}
