"""Tries regular expressions of a run where they can do no harm.

A pattern such as `(.*.*)*x` takes longer than anybody lives, and Python holds its lock all the while: in the agent's
own process not even a heartbeat would get out. So they are searched in a process with a limit of processor time first.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from tesserabench.agent.errors import AttemptRefused

LIMIT_SECONDS = 2
"""Processor time for all patterns over all cases together."""

_WALL_SECONDS = 60.0

# Without site-packages an interpreter starts in hundredths of a second; `re` is all that is needed.
_PROGRAM = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({LIMIT_SECONDS}, {LIMIT_SECONDS}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
pattern, texts = json.load(sys.stdin)
search = re.compile(pattern).search
for text in texts:
    search(text)
"""


def try_pattern(field: str, pattern: str, texts: Sequence[str]) -> None:
    """Search a pattern in each of the texts and return when that has come to an end. Blocks; call it from a thread.

    Raises:
        AttemptRefused: the pattern takes longer than `LIMIT_SECONDS`, or cannot be searched at all.
    """
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    given = json.dumps([pattern, list(texts)])
    try:
        done = subprocess.run(  # noqa: S603 - our own program; the pattern is read from its input
            command, input=given, capture_output=True, text=True, timeout=_WALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(field, pattern, len(texts)) from None
    if done.returncode < 0:
        raise _too_slow(field, pattern, len(texts))
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AttemptRefused(f"{field} is {pattern!r}, no regular expression: {problem}")


def _too_slow(field: str, pattern: str, count: int) -> AttemptRefused:
    return AttemptRefused(
        f"{field} is {pattern!r}: searching it in {count} case names takes more than {LIMIT_SECONDS} s; "
        "take nested repetitions such as (a+)+ or (.*)* out of it"
    )
