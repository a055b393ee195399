"""What the collector keeps: tables, migrations, queries, bulk writes, and the PostgreSQL server behind them."""
