"""Which recipient lists were left by people whom the CRM doesn't know, by their opt-ins."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("unmatched_feedback", schema=None) as batch_op:
        batch_op.add_column(sa.Column("opt_ins", sa.Text(), nullable=True))
