"""Since when everybody who consents was compared with a withdrawal that the CRM doesn't show."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("known_withdrawal", schema=None) as batch_op:
        batch_op.add_column(sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True))
