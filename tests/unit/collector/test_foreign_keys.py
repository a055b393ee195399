"""What is removed is looked for in every table that speaks of it: an index leads there, or the table is small."""

from sqlalchemy import Table as Described
from sqlalchemy import UniqueConstraint
from tesserabench.collector.store import finding_tables, history_tables, look_tables, policy_tables
from tesserabench.collector.store.tables import Table

NAMED = (finding_tables, history_tables, look_tables, policy_tables)
SMALL = {
    # A handful of rows each, or removed with what they speak of.
    ("baseline", "run_id"),
    ("schedule", "last_run_id"),
    ("look", "base_run_id"),
    # Hosts and schedules are few and seldom removed.
    ("ingest_log", "host_id"),
    ("run", "schedule_id"),
}


def _led_to(table: Described) -> set[str]:
    """The columns that an index begins with."""
    unique = [item.columns for item in table.constraints if isinstance(item, UniqueConstraint)]
    ordered = [*(index.columns for index in table.indexes), table.primary_key.columns, *unique]
    return {next(iter(columns)).name for columns in ordered if len(columns)}


def test_every_reference_can_be_followed_back() -> None:
    assert all(NAMED)
    without = {
        (table.name, key.parent.name)
        for table in Table.metadata.sorted_tables
        for key in table.foreign_keys
        if key.parent.name not in _led_to(table)
    }
    assert without <= SMALL
