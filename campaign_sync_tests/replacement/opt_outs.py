"""Opt-outs that several runs of one mandator see at the same moment."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from campaign_sync.crm.open import open_crm
from campaign_sync.domain.rejection import Reason
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.replacement.live_suppression import OptOutRecorder
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.installation import Installation
from campaign_sync_tests.waiting import PATIENCE


def record_at_once(installation: Installation, names: Sequence[str], rows: pd.DataFrame) -> list[Exception]:
    """Let a run of each of these lists of nord see at the same moment that people unsubscribed. Return the errors."""
    configuration = installation.configuration
    reasons = pd.Series([Reason.UNSUBSCRIBED.value] * len(rows), dtype="str")
    begin, errors = threading.Barrier(len(names)), list[Exception]()

    def record(name: str) -> None:
        with installation.state() as state:
            crm, frames = open_crm(configuration, state.consent_memory()), FileStorage(configuration.storage.frames)
            recorder = OptOutRecorder(crm, state, frames, name)
            begin.wait(PATIENCE)
            try:
                settings = list_settings(configuration, "nord", name)
                recorder.record_live_opt_outs(settings, rows, reasons, datetime.now(UTC))
            except Exception as error:  # noqa: BLE001 - shown by the test
                errors.append(error)

    threads = [threading.Thread(target=record, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
