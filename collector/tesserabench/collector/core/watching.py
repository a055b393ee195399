"""What the watch over series takes: a database, somewhere to compute, a clock, and what counts as a change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tesserabench.analysis.policy import Policy
from tesserabench.collector.core.judging import Offload
from tesserabench.collector.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What watching takes."""

    database: Database
    offload: Offload
    clock: Callable[[], datetime]
    policy: Policy = field(default_factory=Policy)
    """What counts as a change where a project's policy says nothing else."""
