"""The asset by which the CRM learns who left or can't be reached, before anybody is selected."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.feedback import READER_KINDS, FeedbackKind
from campaign_sync.domain.feedback_age import Freshness, FreshnessStatus, format_duration
from campaign_sync.domain.outdated_unsubscribes import OutdatedUnsubscribes
from campaign_sync.domain.propagation import GOAL, Delays
from campaign_sync.domain.suppression import SuppressionKind, entity_keys
from campaign_sync.domain.text import format_row_count
from campaign_sync.feedback.blocklist_check import recheck_blocklist
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.freshness import SilentReader, find_silent_readers, judge_age, vendor_time
from campaign_sync.feedback.parsing import SHOWN_FILES, SHOWN_FOR, PendingFeedback, read_pending
from campaign_sync.feedback.propagation_measurement import measure_delays
from campaign_sync.feedback.withdrawal_history import add_vanished
from campaign_sync.feedback.write_back import WriteBackSummary, write_back
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.check_names import FEEDBACK_AGE
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.io_manager import FRAME, FrameHandover
from campaign_sync.orchestration.metadata import Materialized, column_schema, table
from campaign_sync.orchestration.resources import Resources
from campaign_sync.replacement.progress import Progress, report
from campaign_sync.storage.crm_write_backs import WriteBackRecord
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync.telemetry.spans import note_rows

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

_COLUMNS = {
    "kind": (
        "bounce (of an address, in every mandator), unsubscribe (of a consent), pending (of one or another), unclear "
        "(an event that isn't understood), block (of an address) or remembered (withdrawn, and vanished from the CRM)"
    ),
    "address": "Normalized; missing where an entity has none that can be used",
    "entity_type": "contact, lead or account; missing where it is of the address alone",
    "entity_id": "The entity's id in the CRM",
    "opt_in_id": "The consent that is withdrawn",
    "since": "When they bounced or left, or when it was seen",
    "source": "Who told of it; optimizely:… for what came from the vendor",
}

CHECKS = {
    "layout": (
        "every fetched row fits the layout of its reader.",
        "somebody has to mend feedback.readers in the configuration; the rows are kept and read again daily.",
    ),
    "matched": (
        "the CRM knows everybody the feedback is about.",
        "nothing has to be done at once: who isn't known is suppressed all the same, and matched again daily.",
    ),
    "unsubscribes": (
        "every unsubscribe is about an address, and nearly every one is newer than the consent.",
        "its text says whom to look for, or that clocks should be compared. Nobody is written to for it.",
    ),
    FEEDBACK_AGE: (
        "the CRM has the vendor's feedback up to now. Too old, it stops every replace of the mandator.",
        "look why the last imports failed, mend that, and start the feedback job by hand.",
    ),
    "silence": (
        "no reader has returned nothing for unusually long while mailings went out.",
        "ask Optimizely whether the export of the reader that is named still runs.",
    ),
    "propagation": (
        "within 24 hours of an opt-out the CRM knows, and no list has them any more.",
        "have feedback imported more often (feedback.schedule), and see whether a list wasn't replaced for days.",
    ),
    "attributed": (
        "unsubscribes name an opt-in that the CRM knows, so that no other consent is withdrawn.",
        "compare opt_in_id of feedback.readers with the rows and the CRM; meanwhile the lists that were sent decide.",
    ),
}
"""What each check demands, and what to do if it doesn't hold."""


def suppression_asset(mandator: str, settings: MandatorSettings) -> dg.AssetsDefinition:
    """The asset `[mandator, "suppression_state"]`: feedback into the CRM, then who is suppressed out of it."""
    key, called = asset_key(mandator, AssetKind.SUPPRESSION_STATE), settings.display_name(mandator)
    opt_in_readers = settings.feedback.opt_in_readers

    @dg.asset(
        key=key,
        group_name=mandator,
        kinds={"sql", "parquet"},
        deps=[asset_key(mandator, AssetKind(kind)) for kind in FeedbackKind],
        io_manager_key="parquet",
        dagster_type=FRAME,
        description=asset_description(
            f"Who may not be written to by {called}, and why. The CRM takes all fetched feedback first.",
            "rows that were read, and what of them was new to the CRM; then everybody the CRM keeps from being written "
            "to. A bounce counts for every mandator, an unsubscribe for the consent it withdrew.",
            "the feedback couldn't be written to the CRM, so no list of this mandator is replaced. The run's error "
            "says what to mend; then start the daily job again.",
        ),
        metadata={"mandator": called, "mandator id": str(settings.mandator_id)},
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=check_description(called, *told))
            for name, told in CHECKS.items()
            if name != "attributed" or opt_in_readers
        ],
    )
    def suppression_state(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Resources]) -> Materialized:
        with translate_errors(context) as attempt:
            state, feedback = ports.state, settings.feedback
            pending = read_pending(state, ports.frames, mandator, settings)
            report(Progress(mandator, "suppression_state", "write to the CRM", 0, None))
            begun = datetime.now(UTC)
            written = write_back(
                mandator,
                pending,
                ports.crm,
                state,
                ports.frames,
                lambda: ports.vendor(mandator),
                feedback,
                settings.opt_ins_of_lists if settings.unsubscribe_lists == "per_list" else None,
            )
            _remove_outlived(mandator, feedback.keep_files, state, ports.frames)
            vendor = ports.vendor(mandator)
            released = recheck_blocklist(mandator, vendor, state.blocked_addresses)
            opt_in_ids = {each.opt_in_id for each in settings.lists.values()}
            accepted = _forget_accepted(state, context.run.run_id, mandator, settings)
            crm, utc_now = ports.crm_snapshot(mandator), datetime.now(UTC)
            frame = add_vanished(crm, state, mandator, opt_in_ids, current_suppression(crm, state, mandator), utc_now)
            outdated = _outdated(state.write_backs.unsubscribes(mandator, begun), frame)
            now = vendor_time(feedback.files is not None, vendor)
            age = judge_age(mandator, feedback.readers, feedback.age_limits, state.feedback_imports, now)
            silences = find_silent_readers(mandator, feedback, state.feedback_imports, vendor, now)
            to_crm, to_absence = measure_delays(mandator, settings.lists, state, utc_now)
            report(Progress(mandator, "suppression_state", "suppressed", len(frame), len(frame)))
            note_rows(len(frame))
        by_kind = frame["kind"].value_counts()
        return dg.MaterializeResult(
            value=FrameHandover(frame),
            metadata={
                **column_schema(frame, _COLUMNS),
                "bounces read": len(pending.bounces),
                "unsubscribes read": len(pending.unsubscribes),
                "replies that are no bounces": pending.ignored,
                "new in the CRM": written.written,
                "known to the CRM before": written.already_known,
                "unmatched": written.unmatched,
                **(_attributions(pending, written) if opt_in_readers else {}),
                "rows that didn't fit": pending.unparsed.total(),
                **{f"suppressed: {kind}": int(by_kind.get(kind, 0)) for kind in SuppressionKind},
                **({"vanished withdrawals accepted": accepted} if accepted is not None else {}),
                "rows about ids that are no address": sum(len(ids) for ids in pending.without_address.values()),
                "unsubscribes older than the consent": outdated.outdated,
                "released by the blocklist": released,
                **({"feedback age hours": _hours(age.age)} if age.age else {}),
                **_plotted("opt-out to CRM", to_crm),
                **_plotted("opt-out to absence", to_absence),
                "seconds": attempt.seconds,
            },
            check_results=[
                _layout(key, mandator, pending),
                _matched(key, written.unmatched),
                _unsubscribes(key, pending, outdated),
                feedback_age_result(key, age),
                _silence(key, silences),
                _propagation(key, to_absence),
                *([_attributed(key, opt_in_readers, pending, written)] if opt_in_readers else []),
            ],
        )

    return suppression_state


def _forget_accepted(state: State, run_id: str, mandator: str, settings: MandatorSettings) -> int | None:
    """Forget the vanished withdrawals that somebody accepted for this run. Returns how many; None if nobody did."""
    accepted = state.known_withdrawals.acceptances(run_id, mandator)
    by_opt_in = {settings.lists[each.list].opt_in_id: each for each in accepted if each.list in settings.lists}
    forgotten = [state.known_withdrawals.forget_accepted(each, opt_in_id) for opt_in_id, each in by_opt_in.items()]
    return sum(forgotten) if forgotten else None


def feedback_age_result(key: dg.AssetKey, verdict: FreshnessStatus) -> dg.AssetCheckResult:
    """The check `feedback_age`: a warning after a day, an error when it stops replaces."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=FEEDBACK_AGE,
        passed=verdict.freshness is Freshness.FRESH,
        severity=_WARN if verdict.freshness is Freshness.WARNING else _ERROR,
        description=verdict.message,
        metadata={"freshness": verdict.freshness.value, **({"hours": _hours(verdict.age)} if verdict.age else {})},
    )


def _layout(key: dg.AssetKey, mandator: str, pending: PendingFeedback) -> dg.AssetCheckResult:
    unparsed = {reader: rows for reader, rows in pending.unparsed.items() if rows}
    told = " and ".join(f"{format_row_count(rows)} of {reader}" for reader, rows in unparsed.items())
    where = " · ".join(
        f"{format_row_count(one.unread)} of {one.origin}: {one.why}" for one in pending.unread[:SHOWN_FILES]
    )
    more = len(pending.unread) - SHOWN_FILES
    bad = (
        f"{told} can't be read, so somebody who left may still be selected; the rows are kept and read again daily: "
        f"mend their layout in mandators.{mandator}.feedback.readers, or have the vendor deliver them again. {where}"
        + (f" · and {more} more" if more > 0 else "")
        + ". Rows that can never be read: docs/operations.md, “Rows that can't be read”"
    )
    if lost := sum(pending.lost.values()):
        bad += f". The files of {lost} of these rows are gone; restore them from a backup"
    metadata: dict[str, Any] = {"rows": sum(unparsed.values())}
    if pending.unread:
        metadata["files"] = table(
            {"reader": one.reader, "file": one.origin, "rows": one.rows, "not read": one.unread, "why": one.why}
            for one in pending.unread
        )
    return _check(key, "layout", not unparsed, bad if unparsed else "every row fits", metadata)


def _matched(key: dg.AssetKey, unmatched: int) -> dg.AssetCheckResult:
    bad = (
        f"the CRM has nobody to change under {unmatched} addresses that unsubscribed or bounced; they are suppressed, "
        "and matched again daily"
    )
    told = bad if unmatched else "the CRM knows everybody"
    return _check(key, "matched", not unmatched, told, {"rows": unmatched}, _WARN)


def _attributions(pending: PendingFeedback, written: WriteBackSummary) -> dict[str, int]:
    return {
        "unsubscribes that name a known opt-in": written.naming_opt_in,
        "unsubscribes that name another opt-in": len(pending.named) - written.naming_opt_in,
        "opt-outs whose row is awaited": written.pending,
        "opt-outs whose row didn't come": written.given_up,
    }


def _attributed(
    key: dg.AssetKey, readers: Sequence[str], pending: PendingFeedback, written: WriteBackSummary
) -> dg.AssetCheckResult:
    """A few rows without a known opt-in are nothing unusual; if all are without, the column is another one."""
    rows = sum(1 for one in pending.unsubscribes if one.raw and pending.readers[one.raw.import_id] in readers)
    told = f"{written.naming_opt_in} of {rows} rows of {' and '.join(readers)} name an opt-in that the CRM knows"
    metadata = {"rows": rows, "naming an opt-in": written.naming_opt_in}
    return _check(key, "attributed", bool(written.naming_opt_in) or not rows, told, metadata, _WARN)


def _outdated(written: Sequence[WriteBackRecord], suppressed: pd.DataFrame) -> OutdatedUnsubscribes:
    """How many of the unsubscribes that were just written have changed nothing."""
    withdrawals = (
        ((one.recipient, one.occurred_at), (str(one.entity), one.opt_in_id)) for one in written if one.entity
    )
    withdrawn = suppressed[suppressed["kind"] == SuppressionKind.UNSUBSCRIBE]
    return OutdatedUnsubscribes.count(
        withdrawals, set(zip(entity_keys(withdrawn), withdrawn["opt_in_id"], strict=True))
    )


def _unsubscribes(key: dg.AssetKey, pending: PendingFeedback, outdated: OutdatedUnsubscribes) -> dg.AssetCheckResult:
    of_readers = (name for name in pending.without_address if READER_KINDS[name] is FeedbackKind.UNSUBSCRIBES)
    odd = sum(len(pending.without_address[name]) for name in of_readers)
    found = []
    if odd:
        found.append(
            f"unsubscribes of the last {SHOWN_FOR.days} days about recipient ids that are no address: {odd}. They are "
            "of recipients in lists of Campaign that this CRM doesn't fill, so no consent was withdrawn. Look into the "
            "files that are named; if the CRM knows somebody by such an id, withdraw their consent there"
        )
    if outdated.unsubscribes:
        count = f"{outdated.outdated} of {outdated.unsubscribes} new unsubscribes"
        found.append(f"{count} are older than the consent that stands now, and change nothing")
    if outdated.suspicious:
        found.append("that many suggest that the clocks of CRM and vendor differ, or the reader's timezone is wrong")
    metadata: dict[str, Any] = {"ids that are no address": odd, "older than the consent": outdated.outdated}
    if pending.files_without_address:
        metadata["files"] = table({"file": file} for file in pending.files_without_address)
    told = "; ".join(found) or "no new unsubscribes"
    return _check(key, "unsubscribes", not odd and not outdated.suspicious, told, metadata, _WARN)


def _silence(key: dg.AssetKey, silences: Sequence[SilentReader]) -> dg.AssetCheckResult:
    suspicious = [one.message for one in silences if one.suspicious]
    told = " · ".join(suspicious or [one.message for one in silences]) or "no reader has been silent for unusually long"
    return _check(key, "silence", not suspicious, told, {"silent readers": len(silences)}, _WARN)


def _propagation(key: dg.AssetKey, delays: Delays | None) -> dg.AssetCheckResult:
    if delays is None:
        return _check(key, "propagation", True, "nobody has left in the last 7 days", {"opt-outs": 0}, _WARN)
    told = (
        f"of {delays.count} opt-outs of the last 7 days, half were out of every list within "
        f"{format_duration(delays.median)}, 95 % within {format_duration(delays.p95)}, "
        f"the last one after {format_duration(delays.longest)}"
    )
    late = delays.longest > GOAL
    advice = "; importing feedback hourly (feedback.schedule) shortens the way to the CRM" if late else ""
    metadata = {"opt-outs": delays.count, **_plotted("opt-out to absence", delays)}
    return _check(key, "propagation", not late, told + advice, metadata, _WARN)


def _check(
    key: dg.AssetKey,
    name: str,
    passed: bool,
    told: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = _ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key, check_name=name, passed=passed, severity=severity, description=told, metadata=dict(metadata)
    )


def _plotted(name: str, delays: Delays | None) -> dict[str, float]:
    """Hours, as numbers that Dagster plots over days."""
    if delays is None:
        return {}
    named = (("median", delays.median), ("95 %", delays.p95), ("longest", delays.longest))
    return {f"{name}, hours: {which}": _hours(delay) for which, delay in named}


def _hours(span: timedelta) -> float:
    return round(span.total_seconds() / 3600, 2)


def _remove_outlived(mandator: str, keep: timedelta, state: State, frames: FileStorage) -> None:
    now = datetime.now(UTC)
    for one in state.feedback_imports.expired(mandator, now - keep):
        frames.remove_rows(one.file)
        state.feedback_imports.mark_removed(one.id, now)
