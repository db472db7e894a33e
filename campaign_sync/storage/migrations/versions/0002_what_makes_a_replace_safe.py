"""What makes a replace safe: its steps, leases, kinds and shadows of lists, accepted sizes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("replace", schema=None) as batch_op:
        batch_op.add_column(sa.Column("strategy", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("resumes", sa.String(length=36), nullable=True))
        batch_op.add_column(sa.Column("replayed", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("dropped", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("entity_types", sa.Text(), nullable=True))

    op.create_table(
        "replace_step",
        sa.Column("replace_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("part", sa.String(length=32), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("replace_id", "number"),
    )
    op.create_table(
        "lease",
        sa.Column("recipient_list_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("recipient_list_id"),
    )
    op.create_table(
        "list_kind",
        sa.Column("recipient_list_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("recipient_list_id"),
    )
    op.create_table(
        "shadow_list",
        sa.Column("recipient_list_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("shadow_list_id", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("recipient_list_id"),
    )
    op.create_table(
        "size_acceptance",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("mandator", sa.String(length=64), nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("accepted_by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "mandator", "list"),
    )
