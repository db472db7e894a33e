"""The checks of the asset `suppression_state`: their descriptions and their results."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from campaign_sync.alerts.detection import MANUAL
from campaign_sync.domain.consent_activity import ConsentActivity, activity_text
from campaign_sync.domain.feedback import READER_KINDS, FeedbackKind
from campaign_sync.domain.feedback_age import Freshness, FreshnessStatus, format_duration
from campaign_sync.domain.message import Message, and_joined, join_messages
from campaign_sync.domain.outdated_unsubscribes import OutdatedUnsubscribes
from campaign_sync.domain.propagation import GOAL, Delays
from campaign_sync.domain.suppression import SuppressionKind, entity_keys
from campaign_sync.domain.text import format_row_count
from campaign_sync.feedback.freshness import SilentReader
from campaign_sync.feedback.pending_feedback import SHOWN_FILES, SHOWN_FOR, PendingFeedback
from campaign_sync.feedback.write_back import WriteBackSummary
from campaign_sync.orchestration.check_names import FEEDBACK_AGE
from campaign_sync.orchestration.metadata import table
from campaign_sync.storage.crm_write_backs import WriteBackRecord

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

CHECKS = {
    "layout": (
        Message("every fetched row fits the layout of its reader."),
        Message("correct feedback.readers in the configuration; the rows are kept and read again daily."),
    ),
    "matched": (
        Message("the CRM knows everybody the feedback is about."),
        Message(
            "unknown people are suppressed all the same, and matched again daily; refused withdrawals need a "
            "correction."
        ),
    ),
    "unsubscribes": (
        Message("every unsubscribe is about an address, and nearly every one is newer than the consent."),
        Message("its text says which rows to check, or that clocks should be compared. No mail is sent because of it."),
    ),
    FEEDBACK_AGE: (
        Message(
            "the CRM has the vendor's feedback up to now. Feedback that is too old stops all replacements of the "
            "mandator."
        ),
        Message("find out why the last imports failed, correct that, and start the feedback job by hand."),
    ),
    "silence": (
        Message("no reader has returned nothing for unusually long while mailings went out."),
        Message("ask Optimizely whether the export of the reader that is named still runs."),
    ),
    "propagation": (
        Message("within 24 hours of an opt-out it is in the CRM, and the person is in no list any more."),
        Message(
            "have feedback imported more often (feedback.schedule), and check whether a list wasn't replaced for days."
        ),
    ),
    "consent_changes": (
        Message("consents in the CRM have changed lately, measured by how often they do."),
        Message("check whether the forms and loads that bring consents and withdrawals into the CRM still work."),
    ),
    "attributed": (
        Message("unsubscribes name an opt-in that the CRM knows, so that no other consent is withdrawn."),
        Message(
            "compare opt_in_id of feedback.readers with the rows and the CRM; meanwhile the lists that were sent "
            "decide."
        ),
    ),
}
"""By check: its rule, and what to do if it doesn't hold."""


def check_feedback_age(key: dg.AssetKey, status: FreshnessStatus) -> dg.AssetCheckResult:
    """Return a warning after a day, and an error when the age stops replacements."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=FEEDBACK_AGE,
        passed=status.freshness is Freshness.FRESH,
        severity=_WARN if status.freshness is Freshness.WARNING else _ERROR,
        description=status.message,
        metadata={"freshness": status.freshness.value, **({"hours": hours(status.age)} if status.age else {})},
    )


def check_layout(key: dg.AssetKey, mandator: str, pending: PendingFeedback) -> dg.AssetCheckResult:
    """Return an error if fetched rows can't be parsed, with the files they are in."""
    unparsed = {reader: rows for reader, rows in pending.unparsed.items() if rows}
    counts = [
        Message("{rows} of {source}", rows=format_row_count(rows), source=reader) for reader, rows in unparsed.items()
    ]
    where: list[str] = [
        Message("{rows} of {source}: {why}", rows=format_row_count(file.unread), source=file.origin, why=file.why)
        for file in pending.unread[:SHOWN_FILES]
    ]
    if (more := len(pending.unread) - SHOWN_FILES) > 0:
        where.append(Message("and {count} more", count=more))
    problem = Message(
        "{rows} can't be read, so people who left may still be selected; the rows are kept and read again daily: "
        "correct their layout in {setting}, or have the vendor deliver them again. {where:inline}. Rows that can never "
        "be read: {manual}, “Rows that can't be read”",
        rows=and_joined(counts) if counts else "",
        setting=f"mandators.{mandator}.feedback.readers",
        where=join_messages(" · ", where),
        manual=MANUAL,
    )
    if lost := sum(pending.lost.values()):
        gone = Message("The files of {rows} of these rows are gone; restore them from a backup", rows=lost)
        problem = join_messages(". ", [problem, gone])
    metadata: dict[str, Any] = {"rows": sum(unparsed.values())}
    if pending.unread:
        metadata["files"] = table(
            {"reader": file.reader, "file": file.origin, "rows": file.rows, "not read": file.unread, "why": file.why}
            for file in pending.unread
        )
    return _result(key, "layout", not unparsed, problem if unparsed else Message("every row fits"), metadata)


def check_matched(key: dg.AssetKey, unmatched: int, refused: int) -> dg.AssetCheckResult:
    """Return a warning if the CRM doesn't know addresses of the feedback, or refused withdrawals."""
    problems = []
    if unmatched:
        problems.append(
            Message(
                "the CRM has no record to change for {addresses} addresses that unsubscribed or bounced; they are "
                "suppressed, and matched again daily",
                addresses=unmatched,
            )
        )
    if refused:
        problems.append(
            Message(
                "the CRM refused {withdrawals} withdrawals of consents; these people are suppressed, and every import "
                "repeats the withdrawals: correct what the CRM refuses (a lock, a rule, a missing right)",
                withdrawals=refused,
            )
        )
    summary = join_messages("; ", problems) if problems else Message("the CRM knows everybody")
    return _result(key, "matched", not problems, summary, {"rows": unmatched, "refused": refused}, _WARN)


def check_attributed(
    key: dg.AssetKey, readers: Sequence[str], pending: PendingFeedback, written: WriteBackSummary
) -> dg.AssetCheckResult:
    """Return a warning if no row names a known opt-in: then the configured column is probably wrong.

    A few rows without a known opt-in are normal.
    """
    rows = sum(1 for row in pending.unsubscribes if row.raw and pending.readers[row.raw.import_id] in readers)
    summary = Message(
        "{naming} of {rows} rows of {readers} name an opt-in that the CRM knows",
        naming=written.naming_opt_in,
        rows=rows,
        readers=and_joined(readers),
    )
    metadata = {"rows": rows, "naming an opt-in": written.naming_opt_in}
    return _result(key, "attributed", bool(written.naming_opt_in) or not rows, summary, metadata, _WARN)


def count_outdated(written: Sequence[WriteBackRecord], suppressed: pd.DataFrame) -> OutdatedUnsubscribes:
    """Count the unsubscribes that were just written and have changed nothing."""
    withdrawals = (
        ((record.recipient, record.occurred_at), (str(record.entity), record.opt_in_id))
        for record in written
        if record.entity
    )
    withdrawn = suppressed[suppressed["kind"] == SuppressionKind.UNSUBSCRIBE]
    return OutdatedUnsubscribes.count(
        withdrawals, set(zip(entity_keys(withdrawn), withdrawn["opt_in_id"], strict=True))
    )


def check_unsubscribes(
    key: dg.AssetKey, pending: PendingFeedback, outdated: OutdatedUnsubscribes
) -> dg.AssetCheckResult:
    """Return a warning about unsubscribes of ids that are no address, or if suspiciously many change nothing."""
    readers = (name for name in pending.without_address if READER_KINDS[name] is FeedbackKind.UNSUBSCRIBES)
    no_address = sum(len(pending.without_address[name]) for name in readers)
    findings = []
    if no_address:
        findings.append(
            Message(
                "unsubscribes of the last {days} days about recipient ids that are no address: {count}. They are of "
                "recipients in lists of Campaign that this CRM doesn't fill, so no consent was withdrawn. Check the "
                "files that are named; if the CRM knows people by such an id, withdraw their consent there",
                days=SHOWN_FOR.days,
                count=no_address,
            )
        )
    if outdated.unsubscribes:
        findings.append(
            Message(
                "{outdated} of {unsubscribes} new unsubscribes are older than the current consent, and change nothing",
                outdated=outdated.outdated,
                unsubscribes=outdated.unsubscribes,
            )
        )
    if outdated.suspicious:
        findings.append(
            Message(
                "so large a number suggests that the clocks of CRM and vendor differ, or the reader's timezone is wrong"
            )
        )
    metadata: dict[str, Any] = {"ids that are no address": no_address, "older than the consent": outdated.outdated}
    if pending.files_without_address:
        metadata["files"] = table({"file": file} for file in pending.files_without_address)
    passed = not no_address and not outdated.suspicious
    summary = join_messages("; ", findings) if findings else Message("no new unsubscribes")
    return _result(key, "unsubscribes", passed, summary, metadata, _WARN)


def check_silence(key: dg.AssetKey, silent: Sequence[SilentReader]) -> dg.AssetCheckResult:
    """Return a warning if readers were silent while mailings went out."""
    suspicious = [reader.message for reader in silent if reader.suspicious]
    messages = suspicious or [reader.message for reader in silent]
    summary = join_messages(" · ", messages) if messages else Message("no reader has been silent for unusually long")
    return _result(key, "silence", not suspicious, summary, {"silent readers": len(silent)}, _WARN)


def check_propagation(key: dg.AssetKey, delays: Delays | None) -> dg.AssetCheckResult:
    """Return a warning if an opt-out took longer than the goal to leave all lists."""
    if delays is None:
        return _result(key, "propagation", True, Message("no opt-outs in the last 7 days"), {"opt-outs": 0}, _WARN)
    summary = Message(
        "of {count} opt-outs of the last 7 days, half were out of every list within {median}, 95 % within {most}, the "
        "last one after {longest}",
        count=delays.count,
        median=format_duration(delays.median),
        most=format_duration(delays.p95),
        longest=format_duration(delays.longest),
    )
    late = delays.longest > GOAL
    if late:
        advice = Message("importing feedback hourly (feedback.schedule) shortens the way to the CRM")
        summary = join_messages("; ", [summary, advice])
    metadata = {"opt-outs": delays.count, **delay_metadata("opt-out to absence", delays)}
    return _result(key, "propagation", not late, summary, metadata, _WARN)


def check_consent_changes(key: dg.AssetKey, activity: ConsentActivity, now: datetime) -> dg.AssetCheckResult:
    """Return a warning if no consent has changed in the CRM for unusually long."""
    silent = activity.is_silent(now)
    summary = activity_text(activity, now)
    if silent:
        advice = Message(
            "check whether consents and withdrawals still reach the CRM: people who opt out may not be in it"
        )
        summary = join_messages("; ", [summary, advice])
    metadata = {"hours since the newest change": hours(activity.silence(now))}
    return _result(key, "consent_changes", not silent, summary, metadata, _WARN)


def delay_metadata(name: str, delays: Delays | None) -> dict[str, float]:
    """Return delays in hours, as numbers that Dagster plots over days."""
    if delays is None:
        return {}
    named = (("median", delays.median), ("95 %", delays.p95), ("longest", delays.longest))
    return {f"{name}, hours: {statistic}": hours(delay) for statistic, delay in named}


def hours(span: timedelta) -> float:
    """Return a time span in hours, to the hundredth."""
    return round(span.total_seconds() / 3600, 2)


def _result(
    key: dg.AssetKey,
    name: str,
    passed: bool,
    summary: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = _ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key, check_name=name, passed=passed, severity=severity, description=summary, metadata=dict(metadata)
    )
