"""Erasures of people, the keyed hashes by which they stay suppressed, and a row for each process of a run."""

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
    op.execute("CREATE TABLE run_alive_before AS SELECT run_id, owner, expires_at, overdue FROM run_alive")
    op.drop_table("run_alive")
    op.create_table(
        "run_alive",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("overdue", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run_id", "owner"),
    )
    op.execute("INSERT INTO run_alive SELECT run_id, owner, expires_at, overdue FROM run_alive_before")
    op.drop_table("run_alive_before")
