"""Drop the shadow lists of the strategy `shadow_then_refill`, which was removed."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.drop_table("shadow_list")
