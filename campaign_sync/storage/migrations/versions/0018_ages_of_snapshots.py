"""The moments that a copy or a delivery of the CRM showed when a snapshot was frozen from it."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("people_of", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("consents_of", sa.DateTime(timezone=True), nullable=True))
