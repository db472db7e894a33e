"""How fresh feedback is by what it says, and rows that somebody has dismissed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change. What was taken before counts as fresh up to where it did."""
    with op.batch_alter_table("feedback_import", schema=None) as batch_op:
        batch_op.add_column(sa.Column("newest_event", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("fresh_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("dismissed_by", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("dismissed_because", sa.Text(), nullable=True))
    with op.batch_alter_table("feedback_file", schema=None) as batch_op:
        batch_op.add_column(sa.Column("digest", sa.String(length=64), nullable=True))
    op.execute("UPDATE feedback_import SET fresh_until = until WHERE committed_at IS NOT NULL")
