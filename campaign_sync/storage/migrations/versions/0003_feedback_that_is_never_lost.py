"""Feedback by reader and by file, what it made of the CRM, and who is on the vendor's blocklist."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("feedback_import", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reader", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("understood_rows", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    # Each kind had one reader; a mandator that used another than these reads the whole reach of it once more.
    for kind, reader in (("bounces", "getOutBounces"), ("unsubscribes", "getUnsubscribes")):
        imports = sa.table("feedback_import", sa.column("kind"), sa.column("reader"))
        op.execute(imports.update().where(imports.c.kind == kind).values(reader=reader))
    with op.batch_alter_table("feedback_import", schema=None) as batch_op:
        batch_op.alter_column("reader", existing_type=sa.String(length=32), nullable=False)

    with op.batch_alter_table("unmatched_feedback", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bounce_kind", sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column("dated", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("import_id", sa.String(length=36), nullable=True))
        batch_op.add_column(sa.Column("row", sa.Integer(), nullable=True))

    op.create_table(
        "feedback_file",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("reader", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("import_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("mandator", "reader", "name", "modified_at", "size"),
    )
    op.create_table(
        "write_back",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.String(length=64), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dated", sa.Boolean(), nullable=False),
        sa.Column("bounce_kind", sa.String(length=8), nullable=True),
        sa.Column("entity_type", sa.String(length=16), nullable=True),
        sa.Column("entity_id", sa.String(length=255), nullable=True),
        sa.Column("opt_in_id", sa.String(length=255), nullable=True),
        sa.Column("event_id", sa.String(length=255), nullable=True),
        sa.Column("import_id", sa.String(length=36), nullable=True),
        sa.Column("row", sa.Integer(), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("write_back", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_write_back_mandator"), ["mandator"], unique=False)
        batch_op.create_index(batch_op.f("ix_write_back_recipient"), ["recipient"], unique=False)
    op.create_table(
        "unsubscribed_recipient",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("recipient_id", sa.String(length=254), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("mandator", "recipient_id"),
    )
    op.create_table(
        "blocked_address",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("mandator", "address"),
    )
