"""What the CRM showed when a snapshot was frozen, indexes by which lists are read at once, overdue renewals, mails."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_feedback_import_reader", "feedback_import", ["mandator", "reader", "fresh_until"]),
    ("ix_feedback_import_run_id", "feedback_import", ["run_id"]),
    ("ix_snapshot_list", "snapshot", ["mandator", "list", "created_at"]),
    ("ix_snapshot_run_id", "snapshot", ["run_id"]),
    ("ix_replace_list", "replace", ["mandator", "list", "started_at"]),
    ("ix_replace_recipient_list", "replace", ["recipient_list_id", "mandator", "list", "started_at"]),
    ("ix_incident_cleared_at", "incident", ["cleared_at"]),
)


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("people_of", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("consents_of", sa.DateTime(timezone=True), nullable=True))
    for table in ("lease", "run_alive"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("overdue", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("doubtful_list", schema=None) as batch_op:
        batch_op.add_column(sa.Column("recipient_list_id", sa.BigInteger(), nullable=True))
    op.create_table(
        "report_mail",
        sa.Column("mandator", sa.String(64), primary_key=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
    )
    for index, table, columns in _INDEXES:
        op.create_index(index, table, columns)
    for table in ("feedback_import", "snapshot", "replace"):  # another index begins with the mandator
        op.drop_index(f"ix_{table}_mandator", table)
    op.execute("UPDATE feedback_import SET fresh_until = imported_at WHERE fresh_until > imported_at")
