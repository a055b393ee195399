"""The collector daemon: takes results from agents, keeps them in PostgreSQL, judges them and tells people."""
