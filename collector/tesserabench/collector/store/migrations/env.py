"""Read by Alembic on every command: runs the steps on the connection that `store.migrate` hands over."""

from alembic import context
from tesserabench.collector.store.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
with context.begin_transaction():
    context.run_migrations()
