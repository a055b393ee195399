"""The command that measures again what a finding is about."""

import shlex

from tesserabench.collector.store.tables import Regression


def reproduce_command(regression: Regression) -> str:
    """`tbctl run reproduce ...`, for the case alone where there is one; empty when no run showed it."""
    if regression.run_id is None:
        return ""
    words = ["tbctl", "run", "reproduce", str(regression.run_id)]
    case = regression.evidence.get("case", {}).get("id", "")
    return shlex.join([*words, "--case", case] if case else words)
