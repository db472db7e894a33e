"""The opt-in and the record that a feedback row names, and which look found an opt-out that waits for its row."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = 'mandator, kind, recipient_id, occurred_at, bounce_kind, dated, import_id, "row"'


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("write_back", schema=None) as batch_op:
        batch_op.add_column(sa.Column("attribution", sa.String(length=16), nullable=True))
    with op.batch_alter_table("unsubscribed_recipient", schema=None) as batch_op:
        batch_op.add_column(sa.Column("source", sa.String(length=64), nullable=True))

    # One recipient can have left several opt-ins, so the opt-in belongs to the key; that takes another table.
    op.rename_table("unmatched_feedback", "unmatched_feedback_before")
    op.create_table(
        "unmatched_feedback",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("recipient_id", sa.String(length=254), nullable=False),
        sa.Column("opt_in_id", sa.String(length=255), server_default="", nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bounce_kind", sa.String(length=8), nullable=True),
        sa.Column("dated", sa.Boolean(), nullable=True),
        sa.Column("import_id", sa.String(length=36), nullable=True),
        sa.Column("row", sa.Integer(), nullable=True),
        sa.Column("entity_type", sa.String(length=16), nullable=True),
        sa.Column("entity_id", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("mandator", "kind", "recipient_id", "opt_in_id", name="unmatched_feedback_with_opt_in"),
    )
    op.execute(f"INSERT INTO unmatched_feedback ({_KEPT}) SELECT {_KEPT} FROM unmatched_feedback_before")  # noqa: S608
    op.drop_table("unmatched_feedback_before")
