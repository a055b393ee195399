"""What people read: quantities with units, verdicts in words, and (later) whole reports."""
