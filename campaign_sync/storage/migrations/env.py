"""Alembic's entry: migrates over the connection that `storage.revisions` hands in."""

from alembic import context

from campaign_sync.storage.revisions import VERSION_TABLE
from campaign_sync.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
