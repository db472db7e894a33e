"""The tables of erasures. They hold keyed hashes of people, whose key is in no database and no file of the product.

Changing one takes a migration in `storage/migrations`.
"""

from sqlalchemy import Column, String, Table, Text

from campaign_sync.storage.consent_tables import metadata as metadata
from campaign_sync.storage.tables import UtcDateTime

erasure = Table(
    "erasure",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("erased_at", UtcDateTime, nullable=False),
    Column("asked_by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("probe", String(32), nullable=False),
    Column("done_at", UtcDateTime),
)

erasure_subject = Table(
    "erasure_subject",
    metadata,
    Column("erasure_id", String(36), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
)
