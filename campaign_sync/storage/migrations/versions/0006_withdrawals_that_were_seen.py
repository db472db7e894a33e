"""Withdrawals that were seen in the CRM, and who accepted that some are gone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "known_withdrawal",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("opt_in_id", sa.String(length=255), nullable=False),
        sa.Column("entity", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=16), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("mandator", "opt_in_id", "entity"),
    )
    op.create_table(
        "withdrawal_acceptance",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("accepted_by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawals", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "mandator", "list"),
    )
