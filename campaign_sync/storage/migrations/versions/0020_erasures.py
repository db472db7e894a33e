"""Erasures of people, and the keyed hashes by which they stay suppressed."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("probe", sa.String(length=32), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "erasure_subject",
        sa.Column("erasure_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("erasure_id", "digest"),
    )
    op.create_table(
        "erasure_place",
        sa.Column("erasure_id", sa.String(length=36), nullable=False),
        sa.Column("place", sa.String(length=160), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("erasure_id", "place"),
    )
    op.create_table(
        "erased_pseudonym",
        sa.Column("erasure_id", sa.String(length=36), nullable=False),
        sa.Column("pseudonym", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("erasure_id", "pseudonym"),
    )
    op.create_table(
        "redaction",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("erasure_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("file_before", sa.Text(), nullable=False),
        sa.Column("digest_before", sa.String(length=64), nullable=False),
        sa.Column("file_after", sa.Text(), nullable=False),
        sa.Column("digest_after", sa.String(length=64), nullable=False),
        sa.Column("redacted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_redaction_erasure_id", "redaction", ["erasure_id"])
    op.create_index("ix_redaction_owner_id", "redaction", ["owner_id"])
