"""The tables of what a CRM's consent states showed, and of feedback that it has accepted and doesn't show yet.

Changing one takes a migration in `storage/migrations`. `unshown_withdrawal` names CRM ids; people are keyed pseudonyms
everywhere else.
"""

from sqlalchemy import Boolean, Column, Integer, String, Table, Text

from campaign_sync.storage.tables import UtcDateTime
from campaign_sync.storage.tables import metadata as metadata

consent_observation = Table(
    "consent_observation",
    metadata,
    Column("opt_in_id", String(255), primary_key=True),
    Column("subject", String(16), primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("withdrawn_at", UtcDateTime),
    Column("accepted_at", UtcDateTime),
    Column("accepted_by", String(255)),
    Column("stated_at", UtcDateTime),
    Column("withdrawn_until", UtcDateTime),
    Column("reported_at", UtcDateTime),
    Column("stated_before", UtcDateTime),
    sqlite_with_rowid=False,
)

consent_read = Table(
    "consent_read",
    metadata,
    Column("opt_in_id", String(255), primary_key=True),
    Column("read_at", UtcDateTime, nullable=False),
    Column("states", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("at_once", Integer, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

consent_activity = Table(
    "consent_activity",
    metadata,
    Column("mandator", String(64), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("newest_at", UtcDateTime, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("longest_gap", Integer, nullable=False),
)

unshown_withdrawal = Table(
    "unshown_withdrawal",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("entity_type", String(16), nullable=False),
    Column("entity_id", String(255), nullable=False),
    Column("opt_in_id", String(255), nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("address", String(16)),
    Column("written_at", UtcDateTime, nullable=False),
)

shown_withdrawal = Table(
    "shown_withdrawal",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("subject", String(16)),
    Column("address", String(16)),
    Column("written_at", UtcDateTime),
)

unshown_bounce = Table(
    "unshown_bounce",
    metadata,
    Column("address", String(16), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("mandator", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("written_at", UtcDateTime, nullable=False),
)
