"""Plans of lists, their approvals, and the snapshots that are stored for a plan."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("plan_id", sa.String(length=36), nullable=True))
    with op.batch_alter_table("replace", schema=None) as batch_op:
        batch_op.add_column(sa.Column("approved_plan_id", sa.String(length=36), nullable=True))
    op.create_table(
        "list_plan",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("recipient_list_id", sa.BigInteger(), nullable=False),
        sa.Column("settings_digest", sa.String(length=64), nullable=False),
        sa.Column("proof_id", sa.String(length=36), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("in_list", sa.Integer(), nullable=False),
        sa.Column("contents_digest", sa.String(length=64), nullable=True),
        sa.Column("entity_types", sa.Text(), nullable=False),
        sa.Column("frozen_entity_types", sa.Text(), nullable=False),
        sa.Column("not_utf8", sa.Integer(), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=False),
        sa.Column("rejections_file", sa.Text(), nullable=False),
        sa.Column("rejections_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_list_plan_list", "list_plan", ["mandator", "list", "planned_at"])
    op.create_table(
        "approval",
        sa.Column("plan_id", sa.String(length=36), nullable=False),
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("approved_by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("plan_id"),
    )
    op.create_index("ix_approval_list", "approval", ["mandator", "list"])
