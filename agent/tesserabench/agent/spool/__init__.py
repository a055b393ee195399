"""The disk log: every record is on disk before it is sent, and stays until the collector has committed it."""

from tesserabench.agent.spool.log import Spool
from tesserabench.agent.spool.opening import Opened, open_spool
from tesserabench.agent.spool.views import AttemptKey, JournalEntry, SpooledAttempt, SpoolSize, StoredRecord

__all__ = [
    "AttemptKey",
    "JournalEntry",
    "Opened",
    "Spool",
    "SpoolSize",
    "SpooledAttempt",
    "StoredRecord",
    "open_spool",
]
