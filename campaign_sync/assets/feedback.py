"""The assets by which people who left or can't be reached become known to the CRM, before anybody is selected."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from campaign_sync.assets.failures import explained
from campaign_sync.assets.metadata import FRAME, Materialized, column_schema
from campaign_sync.assets.ports import Ports
from campaign_sync.configuration import LayoutSettings, MandatorSettings
from campaign_sync.crm.port import WriteBack
from campaign_sync.domain.feedback import (
    Bounce,
    FeedbackKind,
    FeedbackRow,
    LayoutError,
    Unsubscribe,
    parse_feedback,
)
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.services import Reader
from campaign_sync.replacing.progress import Progress, report
from campaign_sync.replacing.suppression import suppression
from campaign_sync.state.feedback import BOUNCE_SOURCE, UNSUBSCRIBE_SOURCE, Unmatched

PAGE_ROWS = 1000
"""Rows per closed-loop call, the most that the vendor gives."""

_DESCRIPTIONS = {
    FeedbackKind.BOUNCES: "Recipients over the vendor's bounce limit, one window of export files, kept as received.",
    FeedbackKind.UNSUBSCRIBES: "Recipients who unsubscribed, one window of export files, kept as received.",
}


def feedback_asset(mandator: str, settings: MandatorSettings, kind: FeedbackKind) -> dg.AssetsDefinition:
    """The asset `[mandator, kind]`: fetches everything since the CRM was last told and keeps it as a CSV file."""
    layout = _layouts(settings)[kind]

    @dg.asset(
        key=[mandator, kind.value],
        group_name=mandator,
        kinds={"soap", "csv"},
        description=_DESCRIPTIONS[kind],
        metadata={"reader": layout.reader},
    )
    def fetch(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Ports]) -> Materialized:
        with explained(context) as watch:
            journal, vendor = ports.state.feedback, ports.vendor(mandator)
            until = vendor.closed_loop.current_time()
            committed = journal.committed_until(mandator).get(kind)
            since = committed - settings.feedback.overlap if committed else until - settings.feedback.reach
            rows = []
            for page in _pages(vendor, Reader(layout.reader), since, until):
                rows += page
                report(Progress(mandator, kind.value, "fetch", len(rows), None))
            file = ports.frames.write_rows(f"feedback/{mandator}/{kind.value}", until, rows)
            report(Progress(mandator, kind.value, "fetched", len(rows), len(rows)))
            journal.add(mandator, kind, (since, until), len(rows), file, context.run.run_id, datetime.now(UTC))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "reader": layout.reader,
                "since (vendor's clock)": dg.MetadataValue.timestamp(since),
                "until (vendor's clock)": dg.MetadataValue.timestamp(until),
                "window hours": round((until - since).total_seconds() / 3600, 2),
                "file": file[0],
                "digest": file[1],
                "seconds": watch.seconds,
            }
        )

    return fetch


def suppression_asset(mandator: str, settings: MandatorSettings) -> dg.AssetsDefinition:
    """The asset `[mandator, "suppression_state"]`: feedback into the CRM, then who is suppressed out of it."""
    key = dg.AssetKey([mandator, "suppression_state"])

    @dg.asset(
        key=key,
        group_name=mandator,
        kinds={"sql", "parquet"},
        deps=[dg.AssetKey([mandator, kind.value]) for kind in FeedbackKind],
        io_manager_key="parquet",
        dagster_type=FRAME,
        description="Who may not be written to in this mandator, and why. The CRM takes all fetched feedback first.",
        check_specs=[
            dg.AssetCheckSpec("layout", asset=key, description="Every fetched row fits the layout of its reader."),
            dg.AssetCheckSpec("matched", asset=key, description="The CRM knows everybody the feedback is about."),
        ],
    )
    def suppression_state(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Ports]) -> Materialized:
        with explained(context) as watch:
            pending = _parse_pending(ports, mandator, settings)
            report(Progress(mandator, "suppression_state", "write to the CRM", 0, None))
            written = _write_back(ports, mandator, pending)
            frame = suppression(ports.crm_snapshot(mandator), ports.state.feedback, mandator)
            age = _feedback_age(ports, mandator)
            report(Progress(mandator, "suppression_state", "suppressed", len(frame), len(frame)))
        by_kind = frame["kind"].value_counts()
        misfits, unmatched = sum(pending.misfits.values()), len(written.unmatched)
        return dg.MaterializeResult(
            value=frame,
            metadata={
                **column_schema(frame),
                "bounces read": len(pending.bounces),
                "unsubscribes read": len(pending.unsubscribes),
                "new in the CRM": written.written,
                "known to the CRM before": written.already_known,
                "unmatched": unmatched,
                "rows that didn't fit": misfits,
                "suppressed: bounce": int(by_kind.get("bounce", 0)),
                "suppressed: unsubscribe": int(by_kind.get("unsubscribe", 0)),
                "feedback age hours": round(age.total_seconds() / 3600, 3),
                "seconds": watch.seconds,
            },
            check_results=[
                _check(
                    key,
                    "layout",
                    misfits,
                    dg.AssetCheckSeverity.ERROR,
                    good="every row fits",
                    bad=f"{_misfits(pending)} can't be read, so somebody who left may still be selected; the rows "
                    f"are kept and read again daily: mend their layout in mandators.{mandator}.feedback",
                ),
                _check(
                    key,
                    "matched",
                    unmatched,
                    dg.AssetCheckSeverity.WARN,
                    good="the CRM knows everybody",
                    bad=f"the CRM has nobody to change under {unmatched} addresses that unsubscribed or bounced; "
                    "they are suppressed, and matched again daily",
                ),
            ],
        )

    return suppression_state


def _misfits(pending: "_Pending") -> str:
    counts = {kind: sum(rows.values()) for kind, rows in pending.misfits_by_kind.items()}
    told = [f"{rows} {'row' if rows == 1 else 'rows'} of {kind.value}" for kind, rows in counts.items() if rows]
    return " and ".join(told)


def _write_back(ports: Ports, mandator: str, pending: "_Pending") -> WriteBack:
    """Give the CRM everything pending, and everybody it couldn't match before; only then move the watermark."""
    journal = ports.state.feedback
    before = journal.unmatched(mandator)
    unsubscribes = [
        *(Unsubscribe(row.address, row.occurred_at, mandator, UNSUBSCRIBE_SOURCE) for row in pending.unsubscribes),
        *before.unsubscribes,
    ]
    bounces = [
        *(Bounce(row.address, row.occurred_at, mandator, BOUNCE_SOURCE) for row in pending.bounces),
        *before.bounces,
    ]
    withdrawn, bounced = ports.crm.record_unsubscribes(unsubscribes), ports.crm.record_bounces(bounces)
    left_unknown, bounced_unknown = set(withdrawn.unmatched), set(bounced.unmatched)
    unmatched = Unmatched(
        [one for one in bounces if one.address in bounced_unknown],
        [one for one in unsubscribes if one.address in left_unknown],
    )
    journal.commit(mandator, pending.misfits, unmatched, datetime.now(UTC))
    return WriteBack(
        withdrawn.written + bounced.written,
        withdrawn.already_known + bounced.already_known,
        tuple(sorted(left_unknown | bounced_unknown)),
    )


def _feedback_age(ports: Ports, mandator: str) -> timedelta:
    """How old the older of the two kinds of feedback in the CRM is, by the vendor's clock."""
    until = ports.state.feedback.committed_until(mandator)
    missing = [kind.value for kind in FeedbackKind if kind not in until]
    if missing:
        raise LayoutError(f"{' and '.join(missing)} were never fetched; materialize them first")
    return ports.vendor(mandator).closed_loop.current_time() - min(until.values())


def _check(
    key: dg.AssetKey, name: str, found: int, severity: dg.AssetCheckSeverity, good: str, bad: str
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not found,
        severity=severity,
        description=bad if found else good,
        metadata={"rows": found},
    )


@dataclass
class _Pending:
    bounces: list[FeedbackRow] = field(default_factory=list)
    unsubscribes: list[FeedbackRow] = field(default_factory=list)
    misfits_by_kind: dict[FeedbackKind, dict[str, int]] = field(default_factory=dict)
    """Import id: rows that didn't fit the layout."""

    @property
    def misfits(self) -> dict[str, int]:
        """The same for all kinds together."""
        return {key: rows for imports in self.misfits_by_kind.values() for key, rows in imports.items()}


def _parse_pending(ports: Ports, mandator: str, settings: MandatorSettings) -> _Pending:
    """Parse everything fetched that the CRM hasn't wholly taken.

    Raises:
        LayoutError: nothing of a kind fits its layout, so the layout must be wrong, and nobody knows who left.
    """
    pending = _Pending()
    imports = ports.state.feedback.pending(mandator)
    for kind in FeedbackKind:
        understood = pending.bounces if kind is FeedbackKind.BOUNCES else pending.unsubscribes
        misfits = {}
        for fetched in (one for one in imports if one.kind is kind):
            raw = ports.frames.read_rows(fetched.file, fetched.digest)
            parsed = parse_feedback(raw, _layouts(settings)[kind].layout(settings.zone))
            understood += parsed.rows
            misfits[fetched.id] = len(parsed.misfits)
        if sum(misfits.values()) and not understood:
            raise LayoutError(
                f"none of the {sum(misfits.values())} fetched rows fits mandators.{mandator}.feedback.{kind.value}; "
                "set its columns and time_format as agreed with the vendor. The rows are kept and will be read again"
            )
        pending.misfits_by_kind[kind] = misfits
    return pending


def _layouts(settings: MandatorSettings) -> dict[FeedbackKind, LayoutSettings]:
    return {
        FeedbackKind.BOUNCES: settings.feedback.bounces,
        FeedbackKind.UNSUBSCRIBES: settings.feedback.unsubscribes,
    }


def _pages(vendor: Optimizely, reader: Reader, since: datetime, until: datetime) -> Iterator[list[list[str | None]]]:
    """All pages of a window, up to the first empty one: a short page may be the server's own limit."""
    start = 0
    while page := vendor.closed_loop.read(reader, since, until, start, PAGE_ROWS):
        yield page
        start += len(page)
