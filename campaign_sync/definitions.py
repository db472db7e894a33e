"""What Dagster loads: the definitions of the configuration that `CAMPAIGN_SYNC_CONFIG` names."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load: the configuration named by `CAMPAIGN_SYNC_CONFIG`."""
    with _kept_for_ever():
        from campaign_sync.config import load_configuration  # here, because what is imported is kept for ever as well
        from campaign_sync.orchestration.code_location import build_definitions

        own = build_definitions(load_configuration(whole=False), datetime.now(UTC))
        return dg.Definitions.merge(own, dg.Definitions(executor=dg.in_process_executor))


@contextmanager
def _kept_for_ever() -> Iterator[None]:
    """Don't search for garbage while objects are made that live as long as the process, nor in them later on.

    For 240 lists the search takes a fifth of the time, and each later one visits half a million objects in vain.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
