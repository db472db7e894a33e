"""Every metric there is. Their labels are names of the configuration and codes, so their number is bounded.

Names and units follow OpenTelemetry; `Metric.prometheus` is the name under which Prometheus has the same metric, in the
text file as well as through a collector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]


@dataclass(frozen=True)
class Metric:
    """One metric: what it counts, in which unit (`s` for seconds, else none)."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""

    @property
    def prometheus(self) -> str:
        """The name in Prometheus."""
        ending = "_seconds" if self.unit == "s" else ""
        return self.name.replace(".", "_") + ending + ("_total" if self.kind == "counter" else "")


@dataclass(frozen=True)
class GaugeValue:
    """The value of a level by its labels."""

    metric: Metric
    value: float
    labels: Mapping[str, str]


ROWS_SENT = Metric("campaign_sync.rows.sent", "counter", "Rows sent to a list, repeats included.")
ROWS_ACCEPTED = Metric("campaign_sync.rows.accepted", "counter", "Rows that the vendor took.")
ROWS_REFUSED = Metric("campaign_sync.rows.refused", "counter", "Rows that the vendor refused, by its code.")
ROWS_DROPPED = Metric("campaign_sync.rows.dropped", "counter", "Rows taken out right before sending, by reason.")
ROWS_SWEPT = Metric("campaign_sync.rows.swept", "counter", "Rows taken out after sending, by reason.")
FAILURES = Metric("campaign_sync.failures", "counter", "Assets that failed, by kind of error.")
CALL_DURATION = Metric("campaign_sync.vendor.call.duration", "histogram", "Vendor calls, by method and outcome.", "s")

LIST_PROVEN = Metric("campaign_sync.list.proven.timestamp", "gauge", "When the list was last proven.", "s")
LIST_ROWS = Metric("campaign_sync.list.rows", "gauge", "Rows in the list as of its last proof.")
LIST_INCOMPLETE = Metric("campaign_sync.list.incomplete", "gauge", "1 while the list is incomplete, else 0.")
LIST_DRIFTED = Metric("campaign_sync.list.drifted", "gauge", "1 while the list isn't as it was proven, else 0.")
LIST_INCOMPLETE_SINCE = Metric(
    "campaign_sync.list.incomplete.since.timestamp",
    "gauge",
    "Since when the list is incomplete, while it is.",
    "s",
)
LIST_INCOMPLETE_DURATION = Metric(
    "campaign_sync.list.incomplete.duration", "gauge", "How long the last proven replace left the list incomplete.", "s"
)
LIST_REPLACE_DURATION = Metric("campaign_sync.list.replace.duration", "gauge", "How long the last replace took.", "s")
LIST_REJECTED = Metric(
    "campaign_sync.list.rejected.rows", "gauge", "Rows that the run of the last replace rejected, by stage and reason."
)
LIST_FAILED_REPLACES = Metric(
    "campaign_sync.list.failed.replaces", "gauge", "Replaces that failed since the last proof of the list."
)
FEEDBACK_AGE = Metric("campaign_sync.feedback.age", "gauge", "Age of the feedback that the CRM has, by reader.", "s")
FEEDBACK_UNMATCHED = Metric(
    "campaign_sync.feedback.unmatched", "gauge", "Addresses that left or bounced and that the CRM doesn't know."
)
RUN_DURATION = Metric(
    "campaign_sync.run.duration",
    "gauge",
    "How long the last run that replaced lists took.",
    "s",
)
WRITTEN = Metric("campaign_sync.metrics.written.timestamp", "gauge", "When these levels were read.", "s")

COUNTERS = (ROWS_SENT, ROWS_ACCEPTED, ROWS_REFUSED, ROWS_DROPPED, ROWS_SWEPT, FAILURES)
HISTOGRAMS = (CALL_DURATION,)
GAUGES = (
    LIST_PROVEN,
    LIST_ROWS,
    LIST_INCOMPLETE,
    LIST_DRIFTED,
    LIST_INCOMPLETE_SINCE,
    LIST_INCOMPLETE_DURATION,
    LIST_REPLACE_DURATION,
    LIST_REJECTED,
    LIST_FAILED_REPLACES,
    FEEDBACK_AGE,
    FEEDBACK_UNMATCHED,
    RUN_DURATION,
    WRITTEN,
)
"""What is read from the state database; everything else is counted where it happens."""
