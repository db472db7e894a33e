"""What Dagster loads: the definitions of the configuration that `CAMPAIGN_SYNC_CONFIG` names."""

from datetime import UTC, datetime

import dagster as dg

from campaign_sync.garbage import kept_for_ever


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load: the configuration named by `CAMPAIGN_SYNC_CONFIG`."""
    with kept_for_ever():
        from campaign_sync.config import load_configuration  # here, because what is imported is kept for ever as well
        from campaign_sync.orchestration.code_location import build_definitions

        own = build_definitions(load_configuration(whole=False), datetime.now(UTC))
        return dg.Definitions.merge(own, dg.Definitions(executor=dg.in_process_executor))
