"""What an agent does with attempts that its predecessor left open."""

from collections.abc import Collection

from tesserabench.agent.spool.log import Spool
from tesserabench.agent.spool.views import AttemptKey
from tesserabench.v1.ingest_service_pb2 import AttemptFinished, Record, TrialFinished
from tesserabench.v1.measurement_pb2 import OUTCOME_INTERRUPTED


def find_orphans(spool: Spool) -> tuple[AttemptKey, ...]:
    """The attempts without a closing record; to be asked before any new one begins."""
    return tuple(attempt.key for attempt in spool.attempts() if not attempt.closed)


def close_orphans(spool: Spool, keys: Collection[AttemptKey]) -> None:
    """Close these attempts as interrupted, unless they are closed.

    Raises:
        DiskFull: there is no room even for that; the attempts stay open and the next start tries again.
    """
    orphans = [attempt for attempt in spool.attempts() if not attempt.closed and attempt.key in keys]
    for attempt in orphans:
        doing = "it waited to begin" if attempt.last_sequence == 0 else "it ran"
        if attempt.open_trial is not None:
            doing = f"trial {attempt.open_trial} ran"
            reason = "the agent was restarted while the trial ran"
            finished = TrialFinished(trial=attempt.open_trial, outcome=OUTCOME_INTERRUPTED, reason=reason)
            spool.append(attempt.key, Record(trial_finished=finished))
        reason = f"the agent was restarted while {doing}; measure again if the missing results matter"
        closing = AttemptFinished(outcome=OUTCOME_INTERRUPTED, reason=reason)
        spool.append(attempt.key, Record(attempt_finished=closing))
