"""Plainer names of the tables of incidents, and of the kind whose repair was given up."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.drop_index("ix_trouble_mandator", "trouble")
    op.rename_table("trouble", "incident")
    op.create_index("ix_incident_mandator", "incident", ["mandator"], unique=False)
    op.execute("ALTER TABLE notice RENAME COLUMN trouble_id TO incident_id")
    op.execute("UPDATE incident SET kind = 'unrepaired' WHERE kind = 'unmended'")
    op.execute("UPDATE notice SET stage = 'unrepaired' WHERE stage = 'unmended'")
    op.rename_table("alarm_look", "incident_check")
    op.execute("ALTER TABLE incident_check RENAME COLUMN looked_at TO checked_at")
