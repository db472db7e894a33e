"""Who may not be written to in a mandator, by everything we know at this moment."""

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS
from campaign_sync.state.feedback import FeedbackJournal


def suppression(crm: CrmSnapshot, feedback: FeedbackJournal, mandator: str) -> pd.DataFrame:
    """The CRM's bounces and withdrawn consents, and the feedback about addresses that the CRM doesn't know.

    Columns `SUPPRESSION_COLUMNS`. An unmatched unsubscribe names an `address` and no entity: should the CRM learn of
    that address tomorrow, nobody under it is written to.
    """
    known = crm.suppression(mandator)
    unmatched: list[tuple[str, Bounce | Unsubscribe]] = [
        *(("bounce", one) for one in feedback.unmatched_bounces()),
        *(("unsubscribe", one) for one in feedback.unmatched(mandator).unsubscribes),
    ]
    if not unmatched:
        return known
    nowhere = pd.Series([None] * len(unmatched), dtype="str")
    unknown = pd.DataFrame(
        {
            "kind": pd.Series([kind for kind, _ in unmatched], dtype="str"),
            "address": pd.Series([one.address for _, one in unmatched], dtype="str"),
            "entity_type": nowhere,
            "entity_id": nowhere,
            "opt_in_id": nowhere,
            "since": pd.to_datetime([one.occurred_at for _, one in unmatched], utc=True).as_unit("us"),
            "source": pd.Series([one.source for _, one in unmatched], dtype="str"),
        },
        columns=list(SUPPRESSION_COLUMNS),
    )
    return pd.concat([known, unknown], ignore_index=True)
