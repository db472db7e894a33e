"""The tables the product owns; more are in `consent_tables`. Changing one takes a migration in `storage/migrations`.

Personal data (recipient ids, addresses) is only in `unmatched_feedback`, `refused_withdrawal`, `blocked_address`,
`unsubscribed_recipient` and `list_unsubscribe`; `rejection`, `write_back` and the first two name CRM ids;
`known_withdrawal` holds keyed pseudonyms only.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from campaign_sync.domain.message import parse_message, serialize

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database; SQLite alone would lose the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Convert to UTC. Raise ValueError for a moment without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the moment in UTC."""
        if value is None or value.tzinfo is UTC:
            return value
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class MessageText(TypeDecorator[str]):
    """A text to people. A message is stored as its template and values, so that its reader chooses the language."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Return the JSON of a message, and any other text as it is."""
        return value and serialize(value)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """Return the message, or the text."""
        return value and parse_message(value)


setting = Table(
    "setting",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

feedback_import = Table(
    "feedback_import",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("reader", String(32), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(64), nullable=False, index=True),
    Column("imported_at", UtcDateTime, nullable=False),
    Column("misfit_rows", Integer),
    Column("understood_rows", Integer),
    Column("committed_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
    Column("newest_event", UtcDateTime),
    Column("fresh_until", UtcDateTime),
    Column("dismissed_at", UtcDateTime),
    Column("dismissed_by", String(255)),
    Column("dismissed_because", Text),
    Index("ix_feedback_import_reader", "mandator", "reader", "fresh_until"),
)

feedback_file = Table(
    "feedback_file",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("reader", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("modified_at", UtcDateTime, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("import_id", String(36), nullable=False),
    Column("digest", String(64)),
)

response_import = Table(
    "response_import",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False, index=True),
    Column("reader", String(32), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("imported_at", UtcDateTime, nullable=False),
    Column("misfit_rows", Integer),
    Column("layout", String(64)),
    Column("committed_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
)

unmatched_feedback = Table(
    "unmatched_feedback",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("recipient_id", String(254), primary_key=True),
    Column("opt_in_id", String(255), primary_key=True, server_default=""),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("bounce_kind", String(8)),
    Column("dated", Boolean),
    Column("import_id", String(36)),
    Column("row", Integer),
    Column("entity_type", String(16)),
    Column("entity_id", String(255)),
    Column("opt_ins", Text),
)

refused_withdrawal = Table(
    "refused_withdrawal",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("mandator", String(64), nullable=False, index=True),
    Column("recipient_id", String(254), nullable=False),
    Column("entity_type", String(16), nullable=False),
    Column("entity_id", String(255), nullable=False),
    Column("opt_in_id", String(255), nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("dated", Boolean, nullable=False),
    Column("attribution", String(16), nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("import_id", String(36)),
    Column("row", Integer),
)

write_back = Table(
    "write_back",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("mandator", String(64), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("source", String(64), nullable=False),
    Column("recipient", String(64), nullable=False, index=True),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("dated", Boolean, nullable=False),
    Column("bounce_kind", String(8)),
    Column("entity_type", String(16)),
    Column("entity_id", String(255)),
    Column("opt_in_id", String(255)),
    Column("event_id", String(255)),
    Column("import_id", String(36)),
    Column("row", Integer),
    Column("attribution", String(16)),
    Column("written_at", UtcDateTime, nullable=False),
)

unsubscribed_recipient = Table(
    "unsubscribed_recipient",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("recipient_id", String(254), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("known_to_crm", Boolean, nullable=False),
    Column("source", String(64)),
)

list_unsubscribe = Table(
    "list_unsubscribe",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("recipient_list_id", BigInteger, primary_key=True, autoincrement=False),
    Column("recipient_id", String(254), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("known_to_crm", Boolean, nullable=False),
)

blocked_address = Table(
    "blocked_address",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("address", String(254), primary_key=True),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    Column("source", String(64), nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False),
    Column("list", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("file", Text, nullable=False),
    Column("run_id", String(64), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("people_of", UtcDateTime),
    Column("consents_of", UtcDateTime),
    Column("plan_id", String(36)),
    Index("ix_snapshot_list", "mandator", "list", "created_at"),
)

list_plan = Table(
    "list_plan",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False),
    Column("list", String(64), nullable=False),
    Column("recipient_list_id", BigInteger, nullable=False),
    Column("settings_digest", String(64), nullable=False),
    Column("proof_id", String(36)),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("in_list", Integer, nullable=False),
    Column("contents_digest", String(64)),
    Column("entity_types", Text, nullable=False),
    Column("frozen_entity_types", Text, nullable=False),
    Column("not_utf8", Integer, nullable=False),
    Column("snapshot_id", String(36), nullable=False),
    Column("rejections_file", Text, nullable=False),
    Column("rejections_digest", String(64), nullable=False),
    Index("ix_list_plan_list", "mandator", "list", "planned_at"),
)

approval = Table(
    "approval",
    metadata,
    Column("plan_id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False),
    Column("list", String(64), nullable=False),
    Column("approved_by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved_at", UtcDateTime, nullable=False),
    Index("ix_approval_list", "mandator", "list"),
)

replace = Table(
    "replace",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False),
    Column("list", String(64), nullable=False),
    Column("recipient_list_id", BigInteger, nullable=False),
    Column("run_id", String(64), nullable=False, index=True),
    Column("snapshot_id", String(36), nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("cleared_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("baseline_rows", Integer),
    Column("sent", Integer),
    Column("accepted", Integer),
    Column("swept", Integer),
    Column("in_list", Integer),
    Column("proof", Text),
    Column("error", Text),
    Column("strategy", String(32)),
    Column("resumes", String(36)),
    Column("replayed", Boolean),
    Column("dropped", Integer),
    Column("entity_types", Text),
    Column("id_attribute", String(255)),
    Column("address_attribute", String(255)),
    Column("approved_plan_id", String(36)),
    Index("ix_replace_list", "mandator", "list", "started_at"),
    Index("ix_replace_recipient_list", "recipient_list_id", "mandator", "list", "started_at"),
)

replace_step = Table(
    "replace_step",
    metadata,
    Column("replace_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", String(32), nullable=False),
    Column("part", String(32)),
    Column("rows", Integer),
    Column("digest", String(64)),
    Column("outcome", String(16)),
    Column("detail", Text),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)

replace_answer = Table(
    "replace_answer",
    metadata,
    Column("replace_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("code", Integer, primary_key=True, autoincrement=False),
    Column("rows", Integer, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("vendor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("token", String(36), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("overdue", Integer, nullable=False, server_default="0"),
)

list_kind = Table(
    "list_kind",
    metadata,
    Column("recipient_list_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
)

size_acceptance = Table(
    "size_acceptance",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("mandator", String(64), primary_key=True),
    Column("list", String(64), primary_key=True),
    Column("accepted_by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
)

known_withdrawal = Table(
    "known_withdrawal",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("opt_in_id", String(255), primary_key=True),
    Column("entity", String(16), primary_key=True),
    Column("address", String(16)),
    Column("withdrawn_at", UtcDateTime, nullable=False),
    Column("missing_since", UtcDateTime),
    Column("absent_since", UtcDateTime),
)

withdrawal_acceptance = Table(
    "withdrawal_acceptance",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("mandator", String(64), primary_key=True),
    Column("list", String(64), primary_key=True),
    Column("accepted_by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("withdrawals", Integer),
)

doubtful_list = Table(
    "doubtful_list",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("list", String(64), primary_key=True),
    Column("held", Integer, nullable=False),
    Column("expected", Integer, nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
    Column("recipient_list_id", BigInteger),
)

rejection = Table(
    "rejection",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("list", String(64), primary_key=True),
    Column("entity_type", String(16), primary_key=True),
    Column("entity_id", String(255), primary_key=True),
    Column("stage", String(16), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("vendor_code", Integer),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    Column("run_id", String(64), nullable=False, index=True),
)

incident = Table(
    "incident",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mandator", String(64), nullable=False, index=True),
    Column("subject", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("what", MessageText, nullable=False),
    Column("remedy", MessageText, nullable=False),
    Column("page", Text, nullable=False),
    Column("noticed_at", UtcDateTime, nullable=False),
    Column("cleared_at", UtcDateTime, index=True),
)

notice = Table(
    "notice",
    metadata,
    Column("incident_id", String(36), primary_key=True),
    Column("channel", String(80), primary_key=True),
    Column("stage", String(16), primary_key=True),
    Column("sent_at", UtcDateTime, nullable=False),
)

inquiry = Table(
    "inquiry",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False, index=True),
    Column("asked_by", String(255), nullable=False),
    Column("command", String(32), nullable=False),
    Column("subject", String(32)),
    Column("mandator", String(64)),
    Column("list", String(64)),
)

run_alive = Table(
    "run_alive",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("overdue", Integer, nullable=False, server_default="0"),
)

list_drift = Table(
    "list_drift",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("list", String(64), primary_key=True),
    Column("replace_id", String(36), nullable=False),
    Column("checked_at", UtcDateTime),
    Column("proven", Integer),
    Column("in_list", Integer),
    Column("missing", Integer),
    Column("departed", Integer),
    Column("changed", Integer),
    Column("strange", Integer),
    Column("drifted_since", UtcDateTime),
    Column("not_checked_since", UtcDateTime),
    Column("not_checked_because", Text),
)

report_mail = Table(
    "report_mail",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("day", Date, nullable=False),
    Column("severity", String(8), nullable=False),
    Column("attempted_at", UtcDateTime, nullable=False),
    Column("problem", Text),
)

incident_check = Table(
    "incident_check",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("checked_at", UtcDateTime, nullable=False),
)
