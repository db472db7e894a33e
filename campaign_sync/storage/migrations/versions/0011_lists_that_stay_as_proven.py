"""What became of lists after their proof, by what names it read them, and when alarms were looked for last."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("replace", schema=None) as batch_op:
        batch_op.add_column(sa.Column("id_attribute", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("address_attribute", sa.String(length=255), nullable=True))
    op.create_table(
        "list_drift",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("replace_id", sa.String(length=36), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("proven", sa.Integer(), nullable=True),
        sa.Column("in_list", sa.Integer(), nullable=True),
        sa.Column("missing", sa.Integer(), nullable=True),
        sa.Column("departed", sa.Integer(), nullable=True),
        sa.Column("changed", sa.Integer(), nullable=True),
        sa.Column("strange", sa.Integer(), nullable=True),
        sa.Column("drifted_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_checked_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_checked_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("mandator", "list"),
    )
    op.create_table(
        "alarm_look",
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mandator"),
    )
