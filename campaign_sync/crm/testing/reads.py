"""What the conformance tests read of a CRM, in short."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CONSENTING_COLUMNS, SELECTION_COLUMNS, CrmSnapshot, Pick
from campaign_sync.crm.testing.under_test import EVERYBODY, NEWS, CrmUnderTest
from campaign_sync.domain.consent import GRANTING
from campaign_sync.domain.suppression import entity_keys


def select(
    under_test: CrmUnderTest, pick: Pick = EVERYBODY, columns: Sequence[str] = (), opt_in_id: str = NEWS, rows: int = 7
) -> pd.DataFrame:
    """Return a selection, read in small parts."""
    with under_test.open().snapshot([opt_in_id]) as snapshot:
        return _whole(snapshot.select(pick, opt_in_id, columns, chunk_rows=rows), columns)


def _whole(frames: Iterable[pd.DataFrame], columns: Sequence[str] = ()) -> pd.DataFrame:
    parts = list(frames)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*SELECTION_COLUMNS, *columns])


def suppressed(under_test: CrmUnderTest, mandator: str = "nord") -> pd.DataFrame:
    """Return the suppressions of a mandator."""
    with under_test.open().snapshot() as snapshot:
        return snapshot.suppression(mandator)


def granted(under_test: CrmUnderTest, opt_in_id: str = NEWS) -> set[str]:
    """Return the ids of those who may be written to by the selection and by `consenting`, which have to agree."""
    with under_test.open().snapshot([opt_in_id]) as snapshot:
        frame = _whole(snapshot.select(EVERYBODY, opt_in_id, []))
        selected = frame[frame["consent_kind"].isin([kind.value for kind in GRANTING])]
        keys = set(selected["entity_type"] + ":" + selected["entity_id"])
        agreeing = {key for key, _, _ in consenting(snapshot, opt_in_id)}
        of_selected = {key for key, _, _ in consenting(snapshot, opt_in_id, selected)}
    assert keys == agreeing, "the selection and `consenting` disagree about who consents"
    assert keys <= of_selected <= agreeing, "`consenting` judges the records that matter in another way"
    return set(selected["entity_id"])


def consenting(
    snapshot: CrmSnapshot, opt_in_id: str, among: pd.DataFrame | None = None
) -> list[tuple[str, str, datetime]]:
    """Return `entity_type:entity_id`, address and time of consent of everybody whom `consenting` yields."""
    people: list[tuple[str, str, datetime]] = []
    for frame in snapshot.consenting(opt_in_id, among):
        assert [*frame.columns] == [*CONSENTING_COLUMNS]
        moments = [at.to_pydatetime() for at in frame["consent_at"]]
        people += zip(entity_keys(frame).tolist(), frame["email"].tolist(), moments, strict=True)
    return people


def read_everything(snapshot: CrmSnapshot, rows: int) -> Iterator[object]:
    """Yield the results of every reading of many rows, a selection in parts of `rows`."""
    yield from snapshot.select(EVERYBODY, NEWS, [], chunk_rows=rows)
    yield from snapshot.members(EVERYBODY)
    yield from snapshot.consenting(NEWS)
    yield snapshot.suppression("nord")
