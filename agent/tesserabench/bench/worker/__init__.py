"""What every worker process shares: its messages, and how it is tied to the process that started it."""
