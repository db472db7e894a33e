"""The progress of a run of another process, from what it has recorded."""

from collections.abc import Callable, Sequence

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.progress import Progress
from campaign_sync.orchestration.asset_keys import asset_name
from campaign_sync.orchestration.metadata_labels import unlabelled
from campaign_sync.storage.replacement_steps import ADD_ALL, StepOutcome
from campaign_sync.storage.state import State

_WORDS = {
    AssetKind.BOUNCES: ("fetch", "fetched", None),
    AssetKind.UNSUBSCRIBES: ("fetch", "fetched", None),
    AssetKind.SUPPRESSION_STATE: ("write to the CRM", "suppressed", None),
    AssetKind.SELECTION: ("select", "selected", "picked"),
    AssetKind.SNAPSHOT: ("check", "checked", "rows"),
    AssetKind.RECIPIENT_LIST: ("replace", "proven", "in list"),
}
"""By kind of asset: what is done, what was done when it is materialized, and the metadata that counts its rows."""

_FAILURES = {
    DagsterEventType.STEP_FAILURE: "failed",
    DagsterEventType.STEP_UP_FOR_RETRY: "failed, is tried again soon",
    DagsterEventType.STEP_SKIPPED: "skipped",
}

_SHOWN = {DagsterEventType.STEP_START, DagsterEventType.ASSET_MATERIALIZATION, *_FAILURES}


class RunProgress:
    """Shows the events of a run once each, and how far the lists that it fills are."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        state: State,
        run_id: str,
        assets: Sequence[dg.AssetKey],
        show: Callable[[Progress], None],
    ) -> None:
        """Begin with the run's first event.

        Args:
            instance: has the events.
            state: has the journal of the lists.
            run_id: the run.
            assets: what it may make.
            show: is called with all progress.
        """
        self._instance, self._state, self._run_id, self._show = instance, state, run_id, show
        self._names = {key.to_python_identifier(): asset_name(key) for key in assets}
        self._cursor: str | None = None
        self._rows: dict[str, int] = {}
        self._filling: dict[str, AssetName] = {}

    def show_events(self) -> None:
        """Show the events since the last call."""
        while True:
            page = self._instance.get_records_for_run(self._run_id, self._cursor, of_type=_SHOWN)
            for record in page.records:
                if event := record.event_log_entry.dagster_event:
                    self._show_event(event)
            self._cursor = page.cursor
            if not page.has_more:
                return

    def show_fills(self) -> None:
        """Show how many rows have been sent to the lists that are being replaced.

        Raises:
            StateError: the journal can't be read.
        """
        for name in self._filling.values():
            subject = str(name.recipient_list)
            replacement = self._state.replacements.of_run(self._run_id, subject)
            if replacement is None:
                continue
            steps = self._state.replacements.steps(replacement.id)
            sent = sum(step.rows or 0 for step in steps if step.step == ADD_ALL and step.outcome is StepOutcome.DONE)
            if sent:
                self._show(Progress(name.mandator, subject, "fill", sent, self._rows.get(subject)))

    def _show_event(self, event: DagsterEvent) -> None:
        name = self._names.get(event.step_key or "")
        if name is None or name.kind not in _WORDS:
            return
        subject = name.recipient_list or name.kind.value
        begun, done, counted = _WORDS[name.kind]
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            value = unlabelled(event.materialization.metadata)[counted].value if counted else 0
            rows = value if isinstance(value, int) else 0
            self._rows[subject] = rows
            progress = Progress(name.mandator, subject, done, rows, rows)
        elif event.event_type in _FAILURES:
            progress = Progress(name.mandator, subject, _FAILURES[event.event_type], 0, 0)
        else:
            progress = Progress(name.mandator, subject, begun, 0, None)
        if name.kind is AssetKind.RECIPIENT_LIST:
            self._filling.pop(subject, None)
            if event.event_type is DagsterEventType.STEP_START:
                self._filling[subject] = name
        self._show(progress)
