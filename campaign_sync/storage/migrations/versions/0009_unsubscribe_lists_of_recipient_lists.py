"""Who is known to stand on the unsubscribe list of a single recipient list."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "list_unsubscribe",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("recipient_list_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipient_id", sa.String(length=254), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("mandator", "recipient_list_id", "recipient_id"),
    )
